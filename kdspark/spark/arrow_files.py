"""Writing a table from the Python workers: each task writes one Parquet file, with Arrow.

For tables of many wide arrays, for which the way of rows through the JVM and its Parquet writer takes several times as
long. Tasks write under hidden names of their own, and the driver gives the files of those that Spark counted as done
their names. So what a failed, repeated or speculative attempt has left is never part of the table.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql.pandas.types import to_arrow_schema

from kdspark import tables
from kdspark.errors import StageError
from kdspark.spark.workers import keep_zip_directories

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Batches = Iterable[pa.RecordBatch]

_GROUP_BYTES = 8 << 20  # as it is in memory: about as many rows as in 2 MiB of encoded ones, see `io`
_BYTES = 4  # of an item, code or number


def write_from_workers(
    frame: "DataFrame", table: str, folder: Path, make: Callable[[Batches], Iterator[pa.RecordBatch]]
) -> int:
    """Write a file for each partition of a frame that has rows; its name and layout depend on the rows alone.

    Args:
        table: a key of `tables.SCHEMAS`, without external ids.
        folder: must not exist; driver and executors see it under this path.
        make: batches of the frame -> batches of the table's columns, whose arrays are of fixed length. Runs in the
            workers.

    Returns:
        Number of rows.

    Raises:
        StageError: the driver does not see what the executors wrote.
    """
    spark = frame.sparkSession
    schema = to_arrow_schema(spark.createDataFrame([], tables.ddl(table)).schema)  # type: ignore[type-var]
    place = str(folder.absolute())

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        keep_zip_directories()
        context = TaskContext.get()
        assert context is not None
        name = f".{context.partitionId():05d}-{uuid.uuid4().hex}"  # of this attempt alone
        rows = _write(make(batches), schema, Path(place, name))
        if rows:
            yield pa.RecordBatch.from_pydict({"part": [context.partitionId()], "name": [name], "n": [rows]})

    folder.mkdir(parents=True)
    files = frame.mapInArrow(write, "part BIGINT, name STRING, n BIGINT").collect()  # a row per file
    try:
        for part, name, _ in files:
            (folder / name).rename(folder / f"part-{part:05d}.parquet")
    except FileNotFoundError as error:
        raise StageError(
            f"{folder}: the driver does not see what the executors wrote.",
            "Give a --root that all nodes share under the same path.",
        ) from error
    for left in folder.glob(".*"):
        left.unlink(missing_ok=True)
    if not files:
        pq.write_table(schema.empty_table(), folder / "part-00000.parquet")
    return sum(n for _, _, n in files)


def _write(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> int:
    """One file, in row groups of a fixed number of rows; none where there are no rows."""
    first = next((batch for batch in batches if batch.num_rows), None)
    if first is None:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)  # a folder that is not shared is found out by the driver
    group = max(1, _GROUP_BYTES // (_BYTES * _width(first)))
    held, rows, written = [first], int(first.num_rows), 0
    # A history repeats most of the one before it, which zstd sees in plain values and not in packed dictionary codes.
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:

        def write_group(table: pa.Table) -> None:  # in one piece: where batches end, pages would end, too
            writer.write_table(table.combine_chunks().cast(schema), row_group_size=group)

        for batch in batches:
            held.append(batch)
            rows += batch.num_rows
            while rows >= group:
                table = pa.Table.from_batches(held)
                write_group(table.slice(0, group))
                held, rows, written = table.slice(group).to_batches(), rows - group, written + group
        for start in range(0, rows, group):
            write_group(pa.Table.from_batches(held).slice(start, group))
    return written + rows


def _width(batch: pa.RecordBatch) -> int:
    """Values in a row: arrays count by their length."""
    return sum(len(column[0]) if pa.types.is_list(column.type) else 1 for column in batch.columns)
