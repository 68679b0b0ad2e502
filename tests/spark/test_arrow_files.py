"""Files that workers write: a table's rows and types, one file for each attempt that counts, nothing of others."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark import TaskContext
from pyspark.sql import SparkSession

from kdspark.errors import StageError
from kdspark.spark import arrow_files
from kdspark.spark.arrow_files import write_made
from kdspark.spark.io import read_table

SCHEMA = "user_idx INT, truth ARRAY<INT>"


def doubled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        users = batch.column(0).to_pylist()
        yield pa.RecordBatch.from_pydict(
            {"user_idx": pa.array(users, pa.int32()), "truth": [[u, 2 * u] for u in users]}
        )


def failing_once(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None
    yield from doubled(batches)
    if context.partitionId() == 1 and context.attemptNumber() == 0:
        raise RuntimeError("the first attempt fails after its rows were written")


@pytest.mark.parametrize("make", [doubled, failing_once])
def test_rows_and_types_of_the_table(spark: SparkSession, tmp_path: Path, make: arrow_files.Make) -> None:
    frame = spark.range(0, 10, 1, 3)
    assert write_made(frame, make, "truth", tmp_path / "truth") == 10
    assert sorted(path.name for path in (tmp_path / "truth").iterdir()) == [f"part-0000{n}.parquet" for n in range(3)]
    found = read_table(spark, tmp_path / "truth")
    assert found.schema.simpleString() == "struct<user_idx:int,truth:array<int>>"
    assert sorted((row.user_idx, row.truth) for row in found.collect()) == [(u, [u, 2 * u]) for u in range(10)]


def test_no_rows_are_a_table_too(spark: SparkSession, tmp_path: Path) -> None:
    assert write_made(spark.range(0), doubled, "truth", tmp_path / "truth") == 0
    assert read_table(spark, tmp_path / "truth").columns == ["user_idx", "truth"]


def test_row_groups_are_of_whole_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [next(doubled([pa.RecordBatch.from_pydict({"id": [n, n]})])) for n in range(5)]
    monkeypatch.setattr(arrow_files, "ROW_GROUP_BYTES", 2 * batches[0].nbytes)
    groups = list(arrow_files._row_groups(batches[0], iter(batches[1:])))
    assert [[batch.num_rows for batch in group] for group in groups] == [[2, 2], [2, 2], [2]]


def test_files_that_the_driver_cannot_see(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_files, "_file", lambda attempts, part, attempt: attempts / "elsewhere" / f"{part}")
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(FileNotFoundError(self)))
    with pytest.raises(StageError, match=re.escape("the driver cannot see")):
        write_made(spark.range(0, 4, 1, 2), doubled, "truth", tmp_path / "truth")


def test_other_types_are_an_error(spark: SparkSession, tmp_path: Path) -> None:
    def texts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = batch.num_rows
            yield pa.RecordBatch.from_pydict({"user_idx": [2**31] * rows, "truth": [[1]] * rows})

    with pytest.raises(Exception, match="not in range"):
        write_made(spark.range(0, 1, 1, 1), texts, "truth", tmp_path / "truth")
