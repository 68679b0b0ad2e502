"""Tables whose rows are made in Arrow, written as Parquet by the workers that make them.

Back through the JVM, wide rows of lists cost some twenty times as much as writing them here: Spark takes every list
apart and puts it together again.

A task writes to a file of its own attempt below a hidden folder, and says so when it is done. Of tasks that run twice
(after a failure, or by speculation) Spark keeps one answer, and the driver moves that attempt's file to its place.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql.pandas.types import to_arrow_schema

from kdspark import tables
from kdspark.errors import StageError
from kdspark.spark.io import ROW_GROUP_BYTES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Make = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
_ATTEMPTS = "_attempts"
_WRITTEN = "part INT, attempt BIGINT, n BIGINT"


def write_made(frame: "DataFrame", make: Make, table: str, folder: Path) -> int:
    """Write what `make` makes of each partition of a frame, one file for each, numbered as the partitions are.

    Args:
        make: Arrow batches of the frame to batches of the table. Row groups are put together of whole batches, so these
            decide where one ends.
        table: a key of `tables.SCHEMAS` without external ids.
        folder: must not exist; all executors see it under this path.

    Returns:
        Number of rows.

    Raises:
        StageError: the driver does not see what the executors wrote.
    """
    parsed = frame.sparkSession.createDataFrame([], tables.ddl(table)).schema  # type: ignore[type-var]
    schema = to_arrow_schema(parsed)
    attempts = folder / _ATTEMPTS
    attempts.mkdir(parents=True)
    written = frame.mapInArrow(_Write(make, schema, attempts), _WRITTEN).collect()  # a row per file
    for row in written:
        try:
            _file(attempts, row.part, row.attempt).replace(folder / f"part-{row.part:05}.parquet")
        except FileNotFoundError:
            raise StageError(
                f"{folder}: the executors wrote files that the driver cannot see.",
                "Give a --root that all nodes share under the same path.",
            ) from None
    if not written:
        pq.write_table(schema.empty_table(), folder / "part-00000.parquet")
    shutil.rmtree(attempts, ignore_errors=True)  # an attempt that lost may be writing still; readers skip the folder
    return sum(int(row.n) for row in written)


@dataclass(frozen=True)
class _Write:
    """What runs in a worker."""

    make: Make
    schema: pa.Schema
    attempts: Path

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        assert context is not None
        part, attempt = context.partitionId(), context.taskAttemptId()
        rows = self._write(self.make(batches), _file(self.attempts, part, attempt))
        if rows:
            columns = [pa.array([part], pa.int32()), pa.array([attempt], pa.int64()), pa.array([rows], pa.int64())]
            yield pa.RecordBatch.from_arrays(columns, ["part", "attempt", "n"])

    def _write(self, made: Iterator[pa.RecordBatch], path: Path) -> int:
        """Rows written; without any there is no file."""
        first = next(made, None)
        if first is None:
            return 0
        path.parent.mkdir(parents=True, exist_ok=True)  # where it is not shared, the driver will say so
        try:
            # item numbers and scores hardly repeat within a row group
            with pq.ParquetWriter(path, self.schema, compression="zstd", use_dictionary=_texts(self.schema)) as writer:
                return sum(map(self._row_group(writer), _row_groups(first, made)))
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise

    def _row_group(self, writer: pq.ParquetWriter) -> Callable[[list[pa.RecordBatch]], int]:
        def write(group: list[pa.RecordBatch]) -> int:
            table = pa.Table.from_batches(group).cast(self.schema)
            writer.write_table(table, row_group_size=table.num_rows)
            return int(table.num_rows)

        return write


def _row_groups(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    group, size = [first], first.nbytes
    for batch in rest:
        if size >= ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(batch)
        size += batch.nbytes
    yield group


def _texts(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_string(field.type)]


def _file(attempts: Path, part: int, attempt: int) -> Path:
    return attempts / f"{part}-{attempt}.parquet"
