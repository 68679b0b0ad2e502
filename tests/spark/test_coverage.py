"""Coverage and Gini against numpy; the jackknife against the spread over fresh samples of users."""

import numpy as np
import pytest

from kdspark import tables
from kdspark.ranking.beyond import coverage, gini
from kdspark.spark.coverage import _jackknife, coverage_metrics


def test_equals_numpy(spark):
    rng = np.random.default_rng(0)
    lists = [(1 + rng.permutation(30)[:6]).tolist() for _ in range(50)]  # item 0 is never shown
    rows = [(user, items, [0.0] * 6, tables.REASON_MODEL) for user, items in enumerate(lists)]
    catalogue = np.arange(40) != 3
    found = coverage_metrics(spark.createDataFrame(rows, tables.ddl("ranked")), [1, 4], catalogue, 0.95, 7)
    for k in (1, 4):
        exposure = np.bincount(np.concatenate([items[:k] for items in lists]), minlength=40)[catalogue]
        assert found[f"coverage@{k}"]["value"] == coverage(exposure)
        assert found[f"gini@{k}"]["value"] == pytest.approx(gini(exposure))
        assert 0 <= found[f"gini@{k}"]["low"] < found[f"gini@{k}"]["value"] < found[f"gini@{k}"]["high"] <= 1
    again = coverage_metrics(spark.createDataFrame(rows[::-1], tables.ddl("ranked")), [1, 4], catalogue, 0.95, 7)
    assert again == found


def test_jackknife_reach_is_that_of_the_sampling_distribution():
    rng = np.random.default_rng(1)
    popularity = 1 / np.arange(1, 41)
    samples = rng.multinomial(60, popularity / popularity.sum(), (400, 16))  # 400 studies, 16 groups of users
    spread = np.std([gini(study.sum(axis=0)) for study in samples])
    found = [_jackknife(gini, study, 0.95) for study in samples[:50]]
    reach = np.mean([(one["high"] - one["low"]) / 2 for one in found])
    assert reach == pytest.approx(2.13 * spread, rel=0.2)  # t on 15 degrees of freedom
