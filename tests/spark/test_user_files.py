"""A pass over users' files equals a join, wherever rows lie, and refuses files that do not belong together."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from kdspark.errors import StageError
from kdspark.spark import user_files
from kdspark.spark.user_files import laid_out, map_users, write_beside
from kdspark.spark.worker_errors import worker_errors

USERS = 37
SCHEMA = "user_idx INT, name STRING, odd ARRAY<INT>, few ARRAY<INT>"


def as_they_are(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def twice(spark: SparkSession, users: list[int], column: str) -> DataFrame:
    return spark.createDataFrame([(user, user) for user in [*users, *users]], f"user_idx INT, {column} INT")


@pytest.fixture
def users(spark: SparkSession, tmp_path: Path) -> Path:
    named = spark.createDataFrame([(n, f"u{n}", n) for n in range(USERS)], "user_idx INT, name STRING, more INT")
    laid_out(named, USERS).write.parquet(str(tmp_path / "users"))
    return tmp_path / "users"


@pytest.mark.parametrize("tasks", [1, 3, 100])
def test_what_stands_beside_meets_its_user(
    spark: SparkSession, users: Path, tmp_path: Path, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = write_beside(twice(spark, list(range(1, USERS, 2)), "odd"), users, tmp_path / "odd")
    few = write_beside(twice(spark, [5], "few"), users, tmp_path / "few")
    found = map_users(spark, users, [odd, few], ["name"], as_they_are, SCHEMA, tasks).frame()
    assert found.rdd.getNumPartitions() == min(tasks, len(list(users.glob("*.parquet"))))
    assert {tuple(row) for row in found.toPandas().astype(str).itertuples(index=False)} == {
        (str(n), f"u{n}", f"[{n} {n}]" if n % 2 else "[]", "[5 5]" if n == 5 else "[]") for n in range(USERS)
    }


def test_nobody_beside(spark: SparkSession, users: Path, tmp_path: Path) -> None:
    nobody = write_beside(twice(spark, [0], "odd").limit(0), users, tmp_path / "odd")
    found = map_users(
        spark, users, [nobody], ["name"], as_they_are, "user_idx INT, name STRING, odd ARRAY<INT>", 2
    ).frame()
    assert [row.odd for row in found.collect()] == [[]] * USERS


def test_rows_that_lie_elsewhere_are_refused(spark: SparkSession, users: Path, tmp_path: Path) -> None:
    odd = twice(spark, list(range(USERS)), "odd")
    odd.repartition(8, "user_idx").write.parquet(str(tmp_path / "odd"))  # by another hash
    found = map_users(spark, users, [tmp_path / "odd"], [], as_they_are, "user_idx INT, odd ARRAY<INT>", 2).frame()
    with pytest.raises(StageError, match="users are not in"), worker_errors():
        found.collect()


def test_a_file_of_another_name_is_refused(spark: SparkSession, users: Path) -> None:
    next(users.glob("*.parquet")).rename(users / "mine.parquet")
    with pytest.raises(StageError, match=r"mine\.parquet is not a file as Spark names them"):
        map_users(spark, users, [], [], as_they_are, "user_idx INT", 1)


def test_batches_may_end_anywhere(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_files, "_USERS", 2)
    path = str(next(users.glob("*.parquet")))
    batches = list(user_files._UserFile(path, [], ["name"]).rows())
    assert max(batch.num_rows for batch in batches) <= 2
    assert all(batch.schema.names == ["user_idx", "name"] for batch in batches)
