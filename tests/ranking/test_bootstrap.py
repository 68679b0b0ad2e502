"""Weights are Poisson(1) and depend on keys alone; sums are exact; intervals agree with theory."""

import numpy as np
import pytest

from kdspark.ranking.bootstrap import (
    LARGEST_VALUE,
    difference,
    estimates,
    interval,
    poisson_weights,
    weighted_sums,
)


def test_weights_are_poisson_and_independent():
    weights = poisson_weights(np.arange(2000), 1000, 1).astype(float)
    shares = np.bincount(weights.astype(int).ravel(), minlength=4)[:4] / weights.size
    np.testing.assert_allclose(shares, np.exp(-1) / np.array([1, 1, 2, 6]), atol=2e-3)
    assert weights.mean() == pytest.approx(1, abs=3e-3)
    assert weights.var() == pytest.approx(1, abs=5e-3)
    corners = np.corrcoef(weights[:, :8].T) - np.eye(8)
    assert np.abs(corners).max() < 0.1  # neighbours share a hash


def test_weights_depend_on_user_and_seed_alone():
    everyone = poisson_weights(np.arange(50), 30, 7)
    np.testing.assert_array_equal(poisson_weights(np.array([41, 3]), 30, 7), everyone[[41, 3]])
    np.testing.assert_array_equal(poisson_weights(np.arange(50), 10, 7), everyone[:, :10])
    assert (poisson_weights(np.arange(50), 30, 8) != everyone).any()


def test_sums_are_the_same_bits_in_any_grouping_and_equal_integer_arithmetic():
    rng = np.random.default_rng(0)
    users = rng.permutation(9000)
    values = rng.random((9000, 3))
    values[rng.random((9000, 3)) < 0.2] = np.nan
    whole = weighted_sums(users, values, 5, 3)
    parts = [weighted_sums(users[part], values[part], 5, 3) for part in np.array_split(np.arange(9000), 7)]
    np.testing.assert_array_equal(sum(parts), whole)
    weights = poisson_weights(users, 5, 3).astype(np.int64)
    fixed = np.rint(np.nan_to_num(values) * 2**30).astype(np.int64)
    np.testing.assert_array_equal(whole[0, 1:], weights.T @ fixed)
    np.testing.assert_array_equal(whole[1, 1:], weights.T @ (~np.isnan(values)).astype(np.int64))
    np.testing.assert_array_equal(whole[1, 0], (~np.isnan(values)).sum(axis=0))


def test_values_too_large_to_be_summed_exactly_are_refused():
    for bad in (LARGEST_VALUE * 1.01, np.inf):
        with pytest.raises(ValueError, match="beyond"):
            weighted_sums(np.array([0]), np.array([[bad]]), 2, 0)


def test_interval_of_a_mean_agrees_with_the_normal_one():
    rng = np.random.default_rng(1)
    values = rng.random((4000, 1))
    found = interval(estimates(weighted_sums(np.arange(4000), values, 2000, 5))[:, 0], 0.95)
    reach = 1.96 * values.std() / np.sqrt(4000)
    assert found["value"] == pytest.approx(values.mean(), abs=1e-8)
    assert found["low"] == pytest.approx(values.mean() - reach, abs=0.1 * reach)
    assert found["high"] == pytest.approx(values.mean() + reach, abs=0.1 * reach)


def test_undefined_users_are_left_out_of_the_mean():
    values = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan]])
    means = estimates(weighted_sums(np.arange(3), values, 50, 0))
    assert interval(means[:, 0], 0.9)["value"] == 0.5
    assert interval(means[:, 1], 0.9) == {"value": None, "low": None, "high": None}
    assert difference(means[:, 1], 0.9)["p_value"] is None


def test_p_value_by_hand():
    replicates = np.array([0.3, 0.1, 0.2, 0.4, -0.1, 0.5, 0.6, 0.2, 0.1])  # one of nine at or below 0
    assert difference(np.concatenate([[0.25], replicates]), 0.9)["p_value"] == pytest.approx(2 * 2 / 10)
    assert difference(np.zeros(10), 0.9)["p_value"] == 1


def test_p_value_is_uniform_when_there_is_no_difference():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((300, 200))
    means = estimates(weighted_sums(np.arange(300), values, 400, 9))
    p_values = [difference(column, 0.95)["p_value"] for column in means.T]
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.11
    assert 0.38 < np.mean(np.array(p_values) < 0.5) < 0.62
