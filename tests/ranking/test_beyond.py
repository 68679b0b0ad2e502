"""Beyond-accuracy metrics against values worked out by hand and literal pairwise loops."""

from itertools import combinations
from math import log2, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdspark.ranking.beyond import (
    Catalogue,
    code_diversity,
    coverage,
    exposure_by_popularity,
    gini,
    head_items,
    list_metrics,
    popularity_percentile,
    vector_diversity,
)

COUNTS = np.array([5, 0, 2, 1])  # smoothed: 6, 1, 3, 2 of 12


def catalogue(codes=((1, 2), (2, 0), (3, 0), (0, 0)), vector=None):
    vectors = np.empty((4, 0)) if vector is None else np.array(vector, float)
    return Catalogue(COUNTS, np.array(codes).reshape(4, -1), vectors, head_items(COUNTS, 0.25))


def test_by_hand():
    found = list_metrics(np.array([[0, 1, 2], [2, 3, -1]]), catalogue(), [2, 3])
    np.testing.assert_allclose(found["novelty@2"], [(1 + log2(12)) / 2, (2 + log2(6)) / 2])
    np.testing.assert_allclose(found["popularity@3"], [(7 + 1 + 5) / 24, (5 + 3) / 16])
    np.testing.assert_allclose(found["head_share@3"], [1 / 3, 0])
    # Cosines: (0,1) 1/sqrt(2), (0,2) 0, (1,2) 0; item 3 has no code.
    np.testing.assert_allclose(found["diversity@3"], [1 - 1 / (3 * sqrt(2)), 1])
    np.testing.assert_allclose(found["diversity@2"], [1 - 1 / sqrt(2), 1])


def test_undefined_is_nan():
    found = list_metrics(np.array([[-1, -1], [0, -1]]), catalogue(), [2])
    assert np.isnan(found["novelty@2"]).tolist() == [True, False]
    assert np.isnan(found["diversity@2"]).tolist() == [True, True]


def test_diversity_needs_features_and_prefers_codes():
    empty = np.empty((4, 0), int)
    lists = np.array([[0, 1]])
    assert "diversity@2" not in list_metrics(lists, catalogue(codes=empty), [2])
    dense = list_metrics(lists, catalogue(codes=empty, vector=[[1, 0], [1, 1], [0, 0], [0, 1]]), [2])
    np.testing.assert_allclose(dense["diversity@2"], [1 - 1 / sqrt(2)])


@given(st.integers(0, 2**32 - 1))
def test_both_diversities_equal_the_mean_over_pairs(seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 6, (8, 3))
    multi_hot = np.zeros((8, 6))
    np.put_along_axis(multi_hot, codes, 1, axis=1)
    multi_hot[:, 0] = 0
    items = np.array([rng.permutation(8)[:5] for _ in range(3)])
    items[0, 3:] = -1

    def cosine(a, b):
        size = np.linalg.norm(a) * np.linalg.norm(b)
        return a @ b / size if size else 0.0

    expected = [
        1 - np.mean([cosine(multi_hot[a], multi_hot[b]) for a, b in combinations([i for i in row if i >= 0], 2)])
        for row in items
    ]
    np.testing.assert_allclose(vector_diversity(items, multi_hot), expected, atol=1e-12)
    np.testing.assert_allclose(code_diversity(items, codes), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("exposure", "expected"),
    [([3, 3, 3, 3], 0), ([0, 0, 0, 9], 3 / 4), ([1, 3], 1 / 4), ([0, 0], 0), ([1, 2, 3], 2 / 9)],
)
def test_gini_by_hand(exposure, expected):
    assert gini(np.array(exposure)) == pytest.approx(expected)
    assert gini(np.array(exposure[::-1])) == pytest.approx(expected)


def test_coverage():
    assert coverage(np.array([2, 0, 1, 0])) == 0.5
    assert coverage(np.array([], int)) == 0


def test_head_is_rounded_up_and_ties_go_to_the_smaller_item():
    assert head_items(np.array([1, 4, 1, 1]), 0.5).tolist() == [True, True, False, False]
    assert head_items(np.array([1, 4, 2]), 0.4).tolist() == [False, True, True]
    assert head_items(np.zeros(10, int), 0.3).sum() == 3  # 0.3 * 10 is 3.0000000000000004 in some orders


def test_percentiles_share_ties_and_average_one_half():
    assert popularity_percentile(np.array([5, 0, 5, 1])).tolist() == [0.75, 0.125, 0.75, 0.375]


def test_exposure_by_popularity():
    found = exposure_by_popularity(np.array([6, 0, 3, 1]), COUNTS, bins=2)
    assert found == [(0.5, 0.1), (1.0, 0.9)]
