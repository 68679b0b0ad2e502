"""The population stability index against scipy's relative entropies."""

import numpy as np
import pytest
from scipy.stats import entropy

from kdspark.stages.drift import psi


def test_it_is_the_sum_of_both_relative_entropies() -> None:
    rng = np.random.default_rng(0)
    before, now = (dict(zip("abcde", map(int, rng.integers(50, 900, 5)), strict=True)) for _ in range(2))
    p, q = ([counts[name] + 0.5 for name in "abcde"] for counts in (before, now))
    assert psi(before, now) == pytest.approx(entropy(p, q) + entropy(q, p))
    assert psi(before, now) == pytest.approx(psi(now, before))


def test_equal_distributions_have_none_and_empty_ones_no_index() -> None:
    assert psi({"1": 5, "2": 10}, {"1": 5, "2": 10}) == 0
    assert psi({"1": 0}, {"1": 3}) is None
    assert psi({"1": 3}, {}) is None


def test_a_bin_that_one_lacks_counts_as_half_a_row() -> None:
    p, q = [10.5, 0.5], [5.5, 5.5]
    assert psi({"1": 10}, {"1": 5, "2": 5}) == pytest.approx(entropy(p, q) + entropy(q, p))
