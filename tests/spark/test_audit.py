"""The audit refuses every table that no reader should see, and counts how the lists of others are."""

from typing import Any

import pytest
from pyspark.sql import SparkSession

from kdspark.errors import PublishError
from kdspark.spark import audit as audited
from kdspark.spark.audit import audit, overlap

GOOD = [("a", 1, "x", 0.9), ("a", 2, "y", 0.5), ("b", 1, "x", 0.1)]


SCHEMA = "user_id STRING, rank INT, item_id STRING, score FLOAT"


def check(spark: SparkSession, rows: list[tuple[Any, ...]], k: int = 2) -> dict[str, float]:
    return audit(spark.createDataFrame(rows, SCHEMA), k)


def test_good_table_is_counted(spark: SparkSession) -> None:
    assert check(spark, GOOD) == {"rows": 3, "users": 2, "items": 2, "cold_share": 0.0, "flat_share": 0.0}


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "empty"),
        ([*GOOD, ("b", 2, "x", 0.0)], "1 users with duplicate or null items"),
        ([*GOOD, ("b", 2, None, 0.0)], "1 users with duplicate or null items"),
        ([*GOOD, ("b", 3, "z", 0.0)], "1 users with gaps"),
        ([("a", 2, "x", 0.9)], "1 users with gaps"),
        ([("a", 1, "x", 0.9), ("a", 1, "y", 0.9)], "1 users with gaps"),
        ([*GOOD, ("a", 3, "z", 0.0)], "1 users with more than k=2"),
        ([("a", 1, "x", float("nan"))], "1 rows with a null or non-finite score"),
        ([("a", 1, "x", float("-inf"))], "1 rows with a null or non-finite score"),
        ([("a", 1, "x", None)], "1 rows with a null or non-finite score"),
        ([(None, 1, "x", 0.5)], "1 users without an id"),
    ],
)
def test_bad_tables_are_refused(spark: SparkSession, rows: list[tuple[Any, ...]], problem: str) -> None:
    with pytest.raises(PublishError, match=problem):
        check(spark, rows)


def test_unknown_items_are_refused(spark: SparkSession) -> None:
    rows = spark.createDataFrame(GOOD, SCHEMA)
    known = spark.createDataFrame([("x",), ("y",), ("z",)], "item_id STRING")
    assert audit(rows, 2, known)["items"] == 2
    with pytest.raises(PublishError, match="1 items that the catalogue does not have"):
        audit(rows, 2, known.filter("item_id <> 'y'"))


def test_shares_of_users(spark: SparkSession) -> None:
    rows = [
        *[("known", rank, item, score, "model") for rank, item, score in ((1, "x", 0.9), (2, "y", 0.5))],
        *[("flat", rank, item, 0.5, "model") for rank, item in ((1, "x"), (2, "y"))],
        *[("short", 1, "x", 0.5, "model")],
        *[("new", rank, item, 0.5, "cold_start") for rank, item in ((1, "z"), (2, "y"))],
    ]
    found = audit(spark.createDataFrame(rows, SCHEMA + ", reason STRING"), 2)
    assert found == {"rows": 7, "users": 4, "items": 3, "cold_share": 0.25, "flat_share": 0.25}


def test_overlap_is_that_of_common_users(spark: SparkSession) -> None:
    before = [("a", 1, "y", 0.9), ("a", 2, "z", 0.5), ("b", 1, "x", 0.1), ("c", 1, "x", 0.1)]
    now = [*GOOD, ("d", 1, "x", 0.1)]
    found = overlap(spark.createDataFrame(now, SCHEMA), spark.createDataFrame(before, SCHEMA))
    assert found == pytest.approx(2 / 3)  # of a's x and y, and b's x
    other = spark.createDataFrame([(1, 1, "x", 0.1)], SCHEMA.replace("user_id STRING", "user_id INT"))
    assert overlap(other, spark.createDataFrame(before, SCHEMA)) is None
    strangers = spark.createDataFrame([("e", 1, "x", 0.1)], SCHEMA)
    assert overlap(strangers, spark.createDataFrame(before, SCHEMA)) is None


def test_of_many_users_some_are_compared(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audited, "_COMPARED", 100)
    rows = spark.range(2000).selectExpr("id AS user_id", "1 AS rank", "id % 4 AS item_id", "CAST(0 AS FLOAT) AS score")
    half = rows.withColumn("item_id", (rows.user_id + (rows.user_id % 2)) % 4)
    found = overlap(rows, half)
    assert found is not None
    assert 0.3 < found < 0.7
