"""Coverage and Gini against exposures counted one by one; the jackknife against the spread over fresh samples."""

from collections import Counter

import numpy as np
import pytest
from pyspark.sql import functions as F
from scipy.stats import t as student_t

from kdspark import tables
from kdspark.ranking.beyond import coverage, gini
from kdspark.spark.coverage import _histograms, _jackknife, coverage_metrics

SEED = 7
METRICS = {"coverage": coverage, "gini": gini}


def frames(spark, lists, known):
    rows = [(user, items, [0.0] * len(items), tables.REASON_MODEL) for user, items in enumerate(lists)]
    catalogue = spark.createDataFrame([(int(item),) for item in np.flatnonzero(known)], f"{tables.ITEM_IDX} INT")
    return spark.createDataFrame(rows, tables.ddl("ranked")).repartition(3), catalogue


def groups_of(spark, users):
    column = F.pmod(F.xxhash64(F.col("id"), F.lit(SEED)), F.lit(16))
    return np.array([row[0] for row in spark.range(users).orderBy("id").select(column).collect()])


def by_hand(lists, group_of, known, k, metric, confidence):
    """A count per item and group of users, then the definitions."""
    exposure_GN = np.zeros((16, len(known)), np.int64)
    for group, items in zip(group_of, lists, strict=True):
        exposure_GN[group, items[:k]] += 1
    exposure_GN = exposure_GN[:, known]
    value = metric(exposure_GN.sum(axis=0))
    without = np.array([metric(np.delete(exposure_GN, group, axis=0).sum(axis=0)) for group in range(16)])
    reach = student_t.ppf((1 + confidence) / 2, 15) * np.sqrt(15 / 16 * ((without - without.mean()) ** 2).sum())
    return {"value": value, "low": max(0.0, value - reach), "high": min(1.0, value + reach)}


def test_equals_exposures_counted_one_by_one(spark):
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 61)
    sizes = rng.integers(0, 9, 80)
    lists = [rng.choice(60, size, replace=False, p=popularity / popularity.sum()).tolist() for size in sizes]
    known = rng.random(70) < 0.8  # ten items are in no list, and lists name some that do not count
    ranked, catalogue = frames(spark, lists, known)
    found = coverage_metrics(ranked, [1, 3, 8], catalogue, 0.9, SEED)
    group_of = groups_of(spark, len(lists))
    assert len(set(group_of)) == 16
    assert found == {
        f"{name}@{k}": by_hand(lists, group_of, known, k, metric, 0.9)
        for k in (1, 3, 8)
        for name, metric in METRICS.items()
    }
    assert 0 < found["gini@3"]["low"] < found["gini@3"]["value"] < found["gini@3"]["high"] < 1


@pytest.mark.parametrize("lists", [[], [[], []], [[5], [5, 6]]])
def test_nothing_of_the_catalogue_is_shown(spark, lists):
    ranked, catalogue = frames(spark, lists, np.arange(7) < 5)
    found = coverage_metrics(ranked, [2], catalogue, 0.95, SEED)
    assert found == {name: {"value": 0.0, "low": 0.0, "high": 0.0} for name in ("coverage@2", "gini@2")}


def test_what_reaches_the_driver_does_not_grow_with_the_items(spark):
    lists = [[item, item + 1] for item in range(0, 400, 2)]
    ranked, catalogue = frames(spark, lists, np.ones(500, bool))
    rows = _histograms(ranked, [1, 2], catalogue, SEED).collect()
    assert len(rows) <= 2 * 17 * 2  # every item is shown once or, without its user's group, never
    counts = Counter()
    for row in rows:
        counts[row["cut"], row["without"], row["times"]] += row["items"]
    assert counts[0, -1, 1] == 200
    assert counts[1, -1, 1] == 400
    assert all(counts[1, group, 0] + counts[1, group, 1] == 400 for group in range(-1, 16))


def test_jackknife_reach_is_that_of_the_sampling_distribution():
    rng = np.random.default_rng(1)
    popularity = 1 / np.arange(1, 41)
    samples = rng.multinomial(60, popularity / popularity.sum(), (400, 16))  # 400 studies, 16 groups of users
    totals = samples.sum(axis=1)
    spread = np.std([gini(total) for total in totals])
    without = [[gini(total - group) for group in study] for study, total in zip(samples[:50], totals, strict=False)]
    found = [_jackknife(gini(total), np.array(one), 0.95) for one, total in zip(without, totals, strict=False)]
    reach = np.mean([(one["high"] - one["low"]) / 2 for one in found])
    assert reach == pytest.approx(2.13 * spread, rel=0.2)  # t on 15 degrees of freedom
