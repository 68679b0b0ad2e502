"""What a full disk looks like from everywhere, and the one line that comes of it: fault 8."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.errors import InputError, StageError
from kdspark.spark.arrow_files import write_from_workers
from kdspark.spark.full_disk import full_disks, places
from kdspark.spark.io import uri
from kdspark.workspace import write_bytes
from tests.faults.disks import fill, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as folder:
        fill(folder, leave=64 << 10)
        yield folder


def by_rename(spark: SparkSession, disk: Path) -> None:
    write_bytes(disk / "latest.json", bytes(1 << 20))


def by_spark(spark: SparkSession, disk: Path) -> None:
    frame = spark.range(200_000).selectExpr("id", "uuid() AS text")
    frame.write.parquet(uri(disk / "table"))


def by_workers(spark: SparkSession, disk: Path) -> None:
    def make(batches: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({tables.USER_IDX: batch.column(0).cast(pa.int32())})

    write_from_workers(spark.range(2_000_000), f"{tables.USER_IDX} INT", disk / "table", make)


@pytest.mark.slow
@pytest.mark.parametrize("write", [by_rename, by_spark, by_workers])
def test_fault_08_the_place_and_the_remedy_are_named(
    spark: SparkSession, disk: Path, write: Callable[[SparkSession, Path], None]
) -> None:
    with pytest.raises(StageError) as raised, full_disks(lambda: places(disk, {})):
        write(spark, disk)
    said = str(raised.value)
    assert said.startswith(str(disk))
    assert "no space left on the device" in said
    assert "(--root); then run the same command again" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/b/x/y"), r"^/b/x/y: .*\(spark\.local\.dir\)"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a/q"), r"^/a/q: .*\(--root\)"),
        (RuntimeError("java.io.FileNotFoundException: /b/blockmgr-1/0c/s (No space left on device)"), r"^/b/blockmgr"),
        (
            RuntimeError("java.io.IOException: No space left on device\nat org.apache.spark.shuffle.sort.X.write(X)"),
            r"^/b: .*\(spark\.local\.dir\)",
        ),
        (RuntimeError("OSError: [Errno 28] No space left on device: '/a/stages/t'"), r"^/a/stages/t: .*\(--root\)"),
        (OSError(errno.ENOSPC, "Error writing bytes to file"), r"^/(a|b|tmp\S*): "),
    ],
)
def test_paths_come_from_what_was_said(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)

    def fail() -> None:
        try:
            raise error
        except type(error) as cause:
            raise ValueError("and so something else failed") from cause

    with pytest.raises(StageError, match=words), full_disks(lambda: places(Path("/a"), {"spark.local.dir": "/b,/c"})):
        fail()


@pytest.mark.parametrize(
    "error", [InputError("a", "b"), KeyError("x"), OSError(errno.EACCES, "Permission denied", "/x")]
)
def test_all_else_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, full_disks(lambda: pytest.fail("not asked")):
        raise error
    assert raised.value is error
