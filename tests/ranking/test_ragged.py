"""Ragged lists against lists of lists."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.ranking.ragged import contains, earliest, from_padded, joined, latest, pad_to, select_rows
from kdspark.tables import PAD

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=6)


def csr(lists: list[list[int]], cut: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """As CSR; with `cut`, as the part of a larger one that follows so many entries."""
    items = [0] * cut + [item for one in lists for item in one]
    return np.cumsum([cut, *map(len, lists)]), np.array(items, np.int64)


def lists_of(found: tuple[np.ndarray, np.ndarray]) -> list[list[int]]:
    return [found[1][start:stop].tolist() for start, stop in pairwise(found[0])]


@settings(max_examples=50)
@given(LISTS, st.randoms())
def test_select_rows(lists, random):
    rows = [random.randrange(len(lists)) for _ in range(4)]
    assert lists_of(select_rows(csr(lists), np.array(rows))) == [lists[row] for row in rows]


@settings(max_examples=50)
@given(LISTS, st.integers(0, 3))
def test_pad_to(lists, more):
    assert lists_of(pad_to(csr(lists), len(lists) + more)) == lists + [[]] * more


@settings(max_examples=50)
@given(LISTS)
def test_from_padded(lists):
    padded = np.array([[PAD] * (5 - len(one)) + one for one in lists])
    assert lists_of(from_padded(padded)) == lists


@settings(max_examples=50)
@given(st.lists(st.tuples(*[st.lists(st.integers(0, 9), max_size=5)] * 2), min_size=1), st.integers(0, 2))
def test_joined(pairs, cut):
    found = joined(csr([one for one, _ in pairs], cut), csr([other for _, other in pairs]))
    assert lists_of(found) == [one + other for one, other in pairs]


@settings(max_examples=50)
@given(LISTS, st.integers(0, 2), st.integers(1, 7))
def test_latest_and_earliest(lists, cut, width):
    found = latest(csr(lists, cut), width)
    assert found.tolist() == [[PAD] * (width - len(one)) + one[-width:] for one in lists]
    found = earliest(csr(lists, cut), width)
    assert found.tolist() == [one[:width] + [PAD] * (width - len(one)) for one in lists]


@settings(max_examples=50)
@given(LISTS, st.integers(0, 2), st.lists(st.integers(PAD, 12), min_size=3, max_size=3))
def test_contains(lists, cut, wanted):
    found = contains(csr(lists, cut), np.array([wanted] * len(lists)))
    assert found.tolist() == [[item in one for item in wanted] for one in lists]
