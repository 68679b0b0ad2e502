"""Duplicates, repeats, minimum weight and k-core, against brute force in pandas."""

import numpy as np
import pandas as pd
import pytest

from kdspark import tables
from kdspark.config import FiltersConfig
from kdspark.errors import InputError
from kdspark.spark.filters import deduplicate, drop_rare, heavy_enough

COLUMNS = [tables.USER_ID, tables.ITEM_ID, tables.TS, tables.WEIGHT]
SCHEMA = "{} STRING, {} STRING, {} BIGINT, {} FLOAT".format(*COLUMNS)


def frame(spark, rows, partitions=2):
    return spark.createDataFrame(rows, SCHEMA).repartition(partitions)


def kept(frame):
    return sorted(tuple(row) for row in frame.select(*COLUMNS).collect())


ROWS = [("a", "x", 1, 1.0), ("a", "x", 1, 3.0), ("a", "x", 5, 2.0), ("a", "x", 5, 0.5), ("a", "y", 2, 1.0)]


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        ("all", [("a", "x", 1, 3.0), ("a", "x", 5, 2.0), ("a", "y", 2, 1.0)]),
        ("last", [("a", "x", 5, 2.0), ("a", "y", 2, 1.0)]),
        ("first", [("a", "x", 1, 3.0), ("a", "y", 2, 1.0)]),
    ],
)
def test_repeats(spark, repeats, expected):
    assert kept(deduplicate(frame(spark, ROWS), FiltersConfig(repeats=repeats))) == expected


def test_without_time_repeats_count_once(spark):
    rows = [("a", "x", None, 1.0), ("a", "x", None, 2.0)]
    for repeats in ("all", "last", "first"):
        assert kept(deduplicate(frame(spark, rows), FiltersConfig(repeats=repeats))) == [("a", "x", None, 2.0)]


def test_min_weight_comes_before_repeats(spark):
    # The first event is too light; the one after it stays.
    rows = [("a", "x", 1, 1.0), ("a", "x", 2, 4.0)]
    filters = FiltersConfig(min_weight=4.0)
    assert kept(deduplicate(heavy_enough(frame(spark, rows), filters), filters)) == [("a", "x", 2, 4.0)]


def test_equal_events_of_two_splits_are_two(spark):
    rows = frame(spark, ROWS[:2]).selectExpr("*", "IF(weight > 1, 'train', 'test') AS split")
    assert kept(deduplicate(rows, FiltersConfig())) == [("a", "x", 1, 1.0), ("a", "x", 1, 3.0)]


def core(log, users, items):
    while True:
        log = log[log.groupby("i")["u"].transform("size") >= items]
        smaller = log[log.groupby("u")["i"].transform("size") >= users]
        if len(smaller) == len(log):
            return smaller
        log = smaller


def test_k_core_against_brute_force(spark):
    rng = np.random.default_rng(3)
    pairs = {
        (f"u{int(u)}", f"i{int(i)}") for u, i in zip(rng.zipf(1.4, 150) % 40, rng.zipf(1.4, 150) % 30, strict=True)
    }
    expected = core(pd.DataFrame(sorted(pairs), columns=["u", "i"]), 3, 2)
    once = FiltersConfig(min_user_events=3, min_item_events=2)
    log = frame(spark, [(*pair, 0, 1.0) for pair in sorted(pairs)])
    stable = kept(drop_rare(log, once.model_copy(update={"k_core": True})))
    assert [row[:2] for row in stable] == sorted(expected.itertuples(index=False, name=None))
    assert 0 < len(stable) < len(kept(drop_rare(log, once))) < len(pairs)


def test_nothing_left(spark):
    with pytest.raises(InputError, match="No event is left"):
        drop_rare(frame(spark, ROWS), FiltersConfig(min_user_events=100))
