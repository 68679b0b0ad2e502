"""Feature tables of a scope, against values computed by hand."""

import math

import pytest

from kdspark import tables
from kdspark.spark.features import Clock, build_items, build_users, count_items, fit_behaviour, item_counts
from kdspark.spark.numbers import Scale
from kdspark.spark.side import side_free
from tests.spark.logs import END_US, Written, events, tie_hashes

DAY_US = 86_400_000_000
CLOCK = Clock(END_US)
# user 0: items 5 and 3 (tie in time), 1; user 1: item 3
LOG = [(0, 1, END_US - DAY_US), (0, 5, END_US - 4 * DAY_US), (0, 3, END_US - 4 * DAY_US), (1, 3, END_US - 2 * DAY_US)]


def static(spark, idx, identity, n):
    return side_free(spark.createDataFrame([(i, f"id-{i}") for i in range(n)], f"{idx} INT, {identity} STRING"))


def by(frame, idx):
    return {row[idx]: row.asDict() for row in frame.collect()}


def counts(spark, rows, partitions=2):
    """Items of a train log."""
    return item_counts(count_items(events(spark, rows, partitions).selectExpr("*", "'train' AS split")), [tables.TRAIN])


@pytest.mark.parametrize("files", [1, 3])
def test_users(spark, tmp_path, files):
    vocabulary = static(spark, tables.USER_IDX, tables.USER_ID, 3)
    frame = build_users(Written(spark, tmp_path).histories(LOG, 2, files), vocabulary, 2, CLOCK)
    assert frame.columns == tables.columns("users")
    hashes = tie_hashes(spark, LOG)
    later = 5 if hashes[0, 5] < hashes[0, 3] else 3
    rows = by(frame, tables.USER_IDX)
    assert {u: row[tables.HISTORY] for u, row in rows.items()} == {0: [later, 1], 1: [-1, 3], 2: [-1, -1]}
    assert {u: row[tables.N_EVENTS] for u, row in rows.items()} == {0: 3, 1: 1, 2: 0}
    assert {u: row[tables.RECENCY_DAYS] for u, row in rows.items()} == {0: 1.0, 1: 2.0, 2: None}
    assert (rows[0][tables.FIRST_TS], rows[0][tables.LAST_TS]) == (END_US - 4 * DAY_US, END_US - DAY_US)
    assert rows[2][tables.LAST_TS] is None
    assert rows[2][tables.USER_ID] == "id-2"


def test_users_of_a_log_without_a_clock(spark, tmp_path):
    log = Written(spark, tmp_path).histories([(0, item, None) for item in (4, 2, 9)], 5)
    row = build_users(log, static(spark, tables.USER_IDX, tables.USER_ID, 1), 5, Clock(None)).first()
    assert row[tables.HISTORY][:2] == [-1, -1]
    assert set(row[tables.HISTORY][2:]) == {2, 4, 9}
    assert (row[tables.N_EVENTS], row[tables.FIRST_TS], row[tables.RECENCY_DAYS]) == (3, None, None)


def test_items_of_a_log_without_a_clock(spark):
    counted = counts(spark, [(0, 4, 1), (1, 4, 2), (0, 2, 3)])  # positions, no times
    behaviour = fit_behaviour(counted, Clock(None))
    assert behaviour.age == Scale(0.0, 1.0)
    vocabulary = static(spark, tables.ITEM_IDX, tables.ITEM_ID, 5)
    rows = by(build_items(counted, vocabulary, 3, behaviour, Clock(None)), tables.ITEM_IDX)
    assert (rows[4][tables.FIRST_TS], rows[4][tables.RECENCY_DAYS], rows[4][tables.AGE_DAYS]) == (1, None, None)
    assert {row[tables.NUMBERS][1] for row in rows.values()} == {0.0}


def test_items_scaled_by_the_statistics_of_train(spark):
    train = counts(spark, LOG[:3])  # three items, one event each: no deviation, so only centred
    behaviour = fit_behaviour(train, CLOCK)
    assert behaviour.log_events.mean == pytest.approx(math.log(2), abs=1e-6)
    assert behaviour.log_events.deviation == 1.0
    assert behaviour.age.mean == pytest.approx(3.0, abs=1e-6)
    assert behaviour.age.deviation == pytest.approx(math.sqrt(2), abs=1e-6)
    vocabulary = static(spark, tables.ITEM_IDX, tables.ITEM_ID, 7)
    frame = build_items(counts(spark, LOG), vocabulary, len(LOG), behaviour, CLOCK)
    assert frame.columns == tables.columns("items")
    rows = by(frame, tables.ITEM_IDX)
    assert (rows[3][tables.N_EVENTS], rows[3][tables.POPULARITY]) == (2, 0.5)
    assert (rows[3][tables.RECENCY_DAYS], rows[3][tables.AGE_DAYS]) == (2.0, 4.0)
    assert rows[3][tables.NUMBERS] == pytest.approx([math.log(3 / 2), 1 / math.sqrt(2)], abs=1e-6)
    assert rows[6][tables.NUMBERS] == pytest.approx([-math.log(2), 0.0], abs=1e-6)
    assert (rows[6][tables.POPULARITY], rows[6][tables.FIRST_TS]) == (0.0, None)
    assert (rows[6][tables.RECENCY_DAYS], rows[6][tables.AGE_DAYS]) == (None, None)


def test_items_are_counted_by_scope(spark):
    log = events(spark, [(0, 1, 10), (1, 1, 30), (2, 1, 20), (0, 2, 40)]).selectExpr(
        "*", "CASE WHEN ts < 20 THEN 'train' WHEN ts < 30 THEN 'valid' ELSE 'test' END AS split"
    )
    counted = count_items(log)
    for splits, expected in {
        ("train",): {(1, 1, 10, 10)},
        ("train", "valid", "test"): {(1, 3, 10, 30), (2, 1, 40, 40)},
        ("test",): {(1, 1, 30, 30), (2, 1, 40, 40)},
    }.items():
        assert {tuple(row) for row in item_counts(counted, splits).collect()} == expected


def test_statistics_do_not_depend_on_partitions(spark):
    rows = [(u, (u * u) % 97, END_US - u * 987_654_321 % (50 * DAY_US) - 1) for u in range(400)]
    found = {fit_behaviour(counts(spark, rows, n).repartition(n), CLOCK) for n in (1, 3, 7)}
    assert len(found) == 1
