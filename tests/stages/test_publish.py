"""The audit refuses every table that no reader should see; the gate lets only a good night through."""

from typing import Any

import pytest
from pyspark.sql import SparkSession

from kdspark.errors import PublishError
from kdspark.stages.publish import audit, check_gate

GOOD = [("a", 1, "x", 0.9), ("a", 2, "y", 0.5), ("b", 1, "x", 0.1)]


def check(spark: SparkSession, rows: list[tuple[Any, ...]], k: int = 2) -> dict[str, int]:
    return audit(spark.createDataFrame(rows, "user_id STRING, rank INT, item_id STRING, score FLOAT"), k)


def test_good_table_is_counted(spark: SparkSession) -> None:
    assert check(spark, GOOD) == {"rows": 3, "users": 2}


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


def comparison(student: float, popularity: float) -> dict[str, Any]:
    values = {"student": student, "popularity": popularity}
    return {"models": [{"model": name, "metrics": {"ndcg@10": {"value": value}}} for name, value in values.items()]}


def test_gate() -> None:
    assert check_gate(comparison(0.2, 0.1), "ndcg@10", 2.0) == {"student": 0.2, "popularity": 0.1}
    with pytest.raises(PublishError, match=r"0\.1000, below 1\.5 x popularity's 0\.1000"):
        check_gate(comparison(0.1, 0.1), "ndcg@10", 1.5)
    with pytest.raises(PublishError, match="Choose one of: ndcg@10"):
        check_gate(comparison(0.2, 0.1), "ndcg@7", 1.0)
