"""Definitions against fractions worked out by hand, and against a slow, literal implementation."""

from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdspark.errors import ModelError
from kdspark.ranking.metrics import NAMES, find_hits, user_metrics


def csr(lists):
    return np.cumsum([0, *map(len, lists)]), np.array([item for one in lists for item in one], np.int64)


def one_user(items, truth, k):
    return {name.split("@")[0]: float(v[0]) for name, v in user_metrics(np.array([items]), csr([truth]), [k]).items()}


def test_by_hand_two_hits_of_three():
    # Ranks 1 and 3 of [4 9 2 7] are in {2, 4, 5}; k = 4.
    found = one_user([4, 9, 2, 7], [2, 4, 5], 4)
    assert found["precision"] == Fraction(2, 4)
    assert found["recall"] == pytest.approx(Fraction(2, 3))
    assert found["f1"] == pytest.approx(Fraction(4, 7))  # 2 * 1/2 * 2/3 / (7/6)
    assert found["hit_rate"] == 1
    assert found["mrr"] == 1
    assert found["map"] == pytest.approx(Fraction(5, 9))  # (1/1 + 2/3) / 3
    assert found["ndcg"] == pytest.approx((1 + 1 / log2(4)) / (1 + 1 / log2(3) + 1 / log2(4)))


def test_by_hand_leave_one_out_at_rank_three():
    found = one_user([8, 6, 1, 0, 3], [1], 5)
    assert found["precision"] == pytest.approx(Fraction(1, 5))
    assert found["recall"] == found["hit_rate"] == 1
    assert found["mrr"] == found["map"] == pytest.approx(Fraction(1, 3))
    assert found["ndcg"] == pytest.approx(1 / 2)  # 1 / log2(4)
    assert found["f1"] == pytest.approx(Fraction(1, 3))


def test_more_truth_than_k_normalises_by_k():
    found = one_user([1, 2], [1, 2, 3, 4], 2)
    assert found["ndcg"] == found["map"] == found["precision"] == 1
    assert found["recall"] == Fraction(1, 2)


def test_a_hit_below_k_does_not_count():
    found = one_user([5, 6, 7], [7], 2)
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize("items", [[-1, -1, -1], []])
def test_truth_without_a_recommendation_scores_zero(items):
    found = one_user(items, [0, 3], 3)
    assert list(found.values()) == [0.0] * len(NAMES)


def test_a_short_list_is_divided_by_k():
    assert one_user([3, -1, -1, -1], [3], 4)["precision"] == Fraction(1, 4)
    assert one_user([3], [3], 4)["precision"] == Fraction(1, 4)


def test_repeated_truth_counts_once():
    assert one_user([3, 1], [3, 3, 3], 2)["recall"] == 1


def test_no_truth_scores_zero():
    assert set(one_user([3, 1], [], 2).values()) == {0.0}


def test_an_item_listed_twice_is_refused():
    with pytest.raises(ModelError, match="twice"):
        user_metrics(np.array([[1, 2], [3, 3]]), csr([[3], [3]]), [2])


def test_truth_may_be_a_slice_of_a_larger_csr():
    indptr, indices = csr([[0], [1, 2], [3]])
    hits, sizes = find_hits(np.array([[2, 0], [3, 9]]), (indptr[1:], indices))
    assert hits.tolist() == [[True, False], [True, False]]
    assert sizes.tolist() == [2, 1]


def slow(items, truth, k):
    """The definitions, word for word."""
    hit = [item in truth for item in items[:k]]
    p, r = Fraction(sum(hit), k), Fraction(sum(hit), len(truth))
    ideal = sum(1 / log2(i + 2) for i in range(min(k, len(truth))))
    return {
        "precision": p,
        "recall": r,
        "f1": 2 * p * r / (p + r) if p + r else 0,
        "hit_rate": any(hit),
        "mrr": next((Fraction(1, i + 1) for i, h in enumerate(hit) if h), 0),
        "map": sum((Fraction(sum(hit[: i + 1]), i + 1) for i, h in enumerate(hit) if h), Fraction())
        / min(k, len(truth)),
        "ndcg": sum(1 / log2(i + 2) for i, h in enumerate(hit) if h) / ideal,
    }


lists = st.lists(st.integers(0, 12), unique=True, max_size=8)
truths = st.sets(st.integers(0, 12), min_size=1, max_size=8)


@given(st.lists(st.tuples(lists, truths), min_size=1, max_size=6), st.sets(st.integers(1, 10), min_size=1))
def test_equals_the_literal_definitions(users, ks):
    padded = np.full((len(users), 8), -1)
    for row, (items, _) in enumerate(users):
        padded[row, : len(items)] = items
    found = user_metrics(padded, csr([sorted(truth) for _, truth in users]), sorted(ks))
    for k in ks:
        expected = [slow(items, truth, k) for items, truth in users]
        for name in NAMES:
            np.testing.assert_allclose(found[f"{name}@{k}"], [float(e[name]) for e in expected], rtol=1e-12)
