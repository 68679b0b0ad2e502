"""Writing a table from the Python workers: each task writes its Parquet files itself, with Arrow.

For many or wide rows that the workers make: their way through the JVM and its Parquet writer takes several times as
long. Attempts write files of their own into a hidden folder. The driver moves those of the attempts that Spark counted
as done to their names in the table, and removes the folder. So what a failed, repeated or speculative attempt has left
is never part of the table, and one that is still at work has no place left to write to.
"""

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql.pandas.types import to_arrow_schema

from kdspark.errors import StageError
from kdspark.failpoints import reached
from kdspark.spark.batches import rebatch
from kdspark.spark.workers import keep_zip_directories

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Batches = Iterable[pa.RecordBatch]

_GROUP_BYTES = 8 << 20  # as it is in memory: about as many rows as in 2 MiB of encoded ones, see `io`
_BYTES = 4  # of an item, code or number
_ATTEMPTS = ".attempts"
_SHARE = "Give a --root that all nodes share under the same path."


@dataclass(frozen=True)
class FileLayout:
    """How rows lie in files.

    Attributes:
        group_rows: of a row group; 0: as suits training, for rows of arrays of fixed length.
        rows_per_file: at most; 0: a file for each partition.
        repeated: columns whose values repeat in many rows. A history repeats most of the one before it, which zstd sees
            in plain values and not in packed dictionary codes.
    """

    group_rows: int = 0
    rows_per_file: int = 0
    repeated: tuple[str, ...] = ()


def write_from_workers(
    frame: "DataFrame",
    schema: str,
    folder: Path,
    make: Callable[[Batches], Iterator[pa.RecordBatch]],
    layout: FileLayout = FileLayout(),
) -> int:
    """Write the files of each partition of a frame that has rows; their names and layout depend on the rows alone.

    Args:
        schema: of the table, as Spark spells it.
        folder: must not exist; driver and executors see it under this path.
        make: batches of the frame -> batches of the table's columns. Runs in the workers.

    Returns:
        Number of rows.

    Raises:
        StageError: driver and executors do not see the same folder.
    """
    spark = frame.sparkSession
    columns = to_arrow_schema(spark.createDataFrame([], schema).schema)  # type: ignore[type-var]
    attempts = (folder / _ATTEMPTS).absolute()

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        keep_zip_directories()
        context = TaskContext.get()
        assert context is not None
        part, tried = context.partitionId(), context.attemptNumber()
        reached(f"{folder.name}.task", tried)
        reached(f"{folder.name}.task-{part}", tried)
        attempt = f".{part:05d}-{uuid.uuid4().hex}"  # of this attempt alone
        for piece, rows in enumerate(_write(make(batches), columns, attempts / attempt, layout)):
            found = {"part": [part], "piece": [piece], "name": [_piece(attempt, piece)], "n": [rows]}
            yield pa.RecordBatch.from_pydict(found)
        reached(f"{folder.name}.written-{part}", tried)

    attempts.mkdir(parents=True)
    # a row per file
    files = frame.mapInArrow(write, "part BIGINT, piece BIGINT, name STRING, n BIGINT").collect()
    try:
        for part, piece, name, _ in files:
            (attempts / name).rename(folder / f"{_piece(f'part-{part:05d}', piece)}.parquet")
    except FileNotFoundError as error:
        raise StageError(f"{folder}: the driver does not see what the executors wrote.", _SHARE) from error
    shutil.rmtree(attempts.rename(folder / f"{_ATTEMPTS}-done"), ignore_errors=True)  # late ones do not find it
    if not files:
        pq.write_table(columns.empty_table(), folder / "part-00000.parquet")
    return sum(n for *_, n in files)


def _write(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path, layout: FileLayout) -> Iterator[int]:
    """One file after the other; gives the rows of each that is complete. None where there are no rows."""
    if not path.parent.is_dir():  # not shared; or the driver has done with it: what it has moved has one owner
        raise StageError(f"{path.parent.parent}: an executor does not see the driver's folder.", _SHARE)
    most = layout.rows_per_file or 1 << 62
    piece, rows = 0, 0
    with ExitStack() as open_file:
        writer = None
        for group in _groups(batches, schema, min(layout.group_rows, most)):
            if writer is not None and rows + group.num_rows > most:
                open_file.close()
                yield rows
                writer, piece, rows = None, piece + 1, 0
            if writer is None:
                target, repeated = path.with_name(_piece(path.name, piece)), list(layout.repeated)
                writer = pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=repeated)
                open_file.enter_context(writer)
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
    if rows:
        yield rows


def _groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """Row groups of a fixed number of rows, each in one piece: where batches end, pages would end, too."""
    filled = (batch for batch in batches if batch.num_rows)
    first = next(filled, None)
    if first is None:
        return
    size = size or max(1, _GROUP_BYTES // (_BYTES * _width(first)))
    for group in rebatch(chain([first], filled), size):
        yield pa.Table.from_batches([group]).cast(schema)


def _piece(name: str, piece: int) -> str:
    """Name of a partition's file; the first has that of the partition, and sorts before the others."""
    return f"{name}_{piece:03d}" if piece else name


def _width(batch: pa.RecordBatch) -> int:
    """Values in a row: arrays count by their length."""
    return sum(len(column[0]) if pa.types.is_list(column.type) else 1 for column in batch.columns)
