"""Tables written by the Python workers: the same files however often a task is tried, and no others."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark import TaskContext
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.errors import StageError
from kdspark.spark import arrow_files
from kdspark.spark.arrow_files import FileLayout, write_from_workers
from kdspark.spark.io import count_rows, read_table

LENGTH = 50
SCHEMA = tables.ddl("examples")


def rows_of(users):
    """A row per user of table "examples"."""
    users = np.asarray(users, np.int32)
    offsets = np.arange(len(users) + 1, dtype=np.int32)
    history = pa.ListArray.from_arrays(pa.array(offsets * LENGTH), pa.array(np.repeat(users, LENGTH)))
    codes, nothing = pa.ListArray.from_arrays(offsets, pa.array(users)), pa.ListArray.from_arrays(offsets * 0, [])
    numbers = pa.ListArray.from_arrays(offsets, pa.array(users.astype(np.float32)))
    arrays = [pa.array(users), pa.array(users), history, codes, codes, numbers, nothing.cast(pa.list_(pa.float32()))]
    return pa.RecordBatch.from_arrays(arrays, tables.columns("examples"))


def make(batches):
    for batch in batches:
        yield rows_of(batch.column(0))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_files_whatever_the_batches(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(0, 100_000, 1, 2)
    assert write_from_workers(frame, SCHEMA, tmp_path / "a", make) == 100_000 == count_rows(tmp_path / "a")
    one = {name: hashlib.sha256((tmp_path / "a" / name).read_bytes()).hexdigest() for name in digests(tmp_path / "a")}

    def in_crumbs(batches):
        for batch in batches:
            for start in range(0, batch.num_rows, 777):
                yield rows_of(batch.column(0).slice(start, 777))

    write_from_workers(frame, SCHEMA, tmp_path / "b", in_crumbs)
    assert digests(tmp_path / "b") == one
    assert sorted(one) == ["part-00000.parquet", "part-00001.parquet"]
    footer = pq.read_metadata(tmp_path / "a" / "part-00000.parquet")
    sizes = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    assert (sizes[0], sum(sizes)) == (arrow_files._GROUP_BYTES // 4 // (LENGTH + 5), 50_000)
    found = read_table(spark, tmp_path / "a")
    assert found.schema.simpleString() == spark.createDataFrame([], tables.ddl("examples")).schema.simpleString()
    last = found.orderBy(found[tables.USER_IDX].desc()).first()
    assert (last.position, last.history, last.codes, last.numbers) == (99_999, [99_999] * LENGTH, [99_999], [99_999.0])
    assert last.vector == []


def test_partitions_without_rows_have_no_file_but_a_table_has_one(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(0, 4, 1, 4)
    assert write_from_workers(frame.filter("id = 2"), SCHEMA, tmp_path / "some", make) == 1
    assert list(digests(tmp_path / "some")) == ["part-00002.parquet"]
    assert write_from_workers(frame.filter("id > 9"), SCHEMA, tmp_path / "none", make) == 0
    assert list(digests(tmp_path / "none")) == ["part-00000.parquet"]
    assert read_table(spark, tmp_path / "none").columns == tables.columns("examples")


def test_what_a_failed_attempt_left_is_no_part_of_the_table(spark: SparkSession, tmp_path: Path) -> None:
    def fails_once(batches):
        yield rows_of(range(1000))
        if TaskContext.get().attemptNumber() == 0:
            raise RuntimeError("lost")

    frame = spark.range(0, 2, 1, 2)
    assert write_from_workers(frame, SCHEMA, tmp_path / "out", fails_once) == 2000 == count_rows(tmp_path / "out")
    assert sorted(digests(tmp_path / "out")) == ["part-00000.parquet", "part-00001.parquet"]


def test_an_attempt_that_comes_late_leaves_nothing(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that Spark has given up may begin to write, or go on, when the table is there."""
    folder, late = tmp_path / "out", []
    schema = rows_of([0]).schema

    def rename(path: Path, target: Path) -> Path:
        if path.name == arrow_files._ATTEMPTS:  # the driver is about to be done
            late.append(pq.ParquetWriter(path / ".00000-of-a-loser", schema))
        return original(path, target)

    original = Path.rename
    monkeypatch.setattr(Path, "rename", rename)
    write_from_workers(spark.range(0, 2, 1, 2), SCHEMA, folder, make)
    late[0].write_batch(rows_of(range(10)))
    late[0].close()
    with pytest.raises(StageError, match="does not see"):
        list(arrow_files._write(make([]), schema, folder / arrow_files._ATTEMPTS / ".00000-another", FileLayout()))
    assert sorted(digests(folder)) == ["part-00000.parquet", "part-00001.parquet"]


def test_a_folder_that_is_not_shared(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def hidden(batches):
        yield rows_of(range(100_000))  # more than a row group: the file is there
        for path in folder.iterdir():
            path.rename(tmp_path / f"{path.name}-{time.time_ns()}")  # the open file goes on elsewhere

    with pytest.raises(StageError, match="does not see what the executors wrote"):
        write_from_workers(spark.range(0, 1, 1, 1), SCHEMA, folder, hidden)
