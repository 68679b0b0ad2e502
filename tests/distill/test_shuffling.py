"""Shuffling and cutting lose, repeat and misalign nothing, and decide by their generator alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdspark.distill.shuffling import rebatched, rows_of, shuffled

sizes = st.lists(st.integers(1, 9), max_size=8)


def chunks(lengths):
    start = 0
    for length in lengths:
        ids = np.arange(start, start + length)
        yield {"id": ids, "twice": np.stack([2 * ids, 2 * ids], axis=1)}
        start += length


@given(sizes, st.integers(1, 30), st.integers(0, 99))
def test_shuffling_keeps_rows_whole(lengths, capacity, seed):
    out = list(shuffled(chunks(lengths), capacity, np.random.default_rng(seed)))
    ids = np.concatenate([chunk["id"] for chunk in out]) if out else np.empty(0, int)
    assert sorted(ids.tolist()) == list(range(sum(lengths)))
    for chunk in out:
        np.testing.assert_array_equal(chunk["twice"], 2 * np.stack([chunk["id"]] * 2, axis=1))
    again = list(shuffled(chunks(lengths), capacity, np.random.default_rng(seed)))
    assert [chunk["id"].tolist() for chunk in again] == [chunk["id"].tolist() for chunk in out]


@given(sizes, st.integers(1, 7))
def test_batches_have_one_size_and_the_order_given(lengths, size):
    out = list(rebatched(chunks(lengths), size))
    assert [row for chunk in out for row in chunk["id"].tolist()] == list(range(sum(lengths)))
    assert all(rows_of(chunk) == size for chunk in out[:-1])
    assert not out or 1 <= rows_of(out[-1]) <= size


def test_a_stream_that_fits_is_permuted_uniformly():
    rng = np.random.default_rng(0)
    counts = np.zeros((4, 4))
    for _ in range(2000):
        (chunk,) = shuffled(chunks([3, 1]), 10, rng)
        counts[np.arange(4), chunk["id"]] += 1
    assert stats.chisquare(counts.ravel(), np.full(16, 500)).pvalue > 1e-4
