"""Passes over the users' table, file by file in Arrow, beside what else is known of these users; no row is shuffled.

The table's files hold whole users by a hash (`order.whole_users`). What is to stand beside a user, which is narrow, is
laid out by the same hash: so a file of users finds all of it in one other file, whose number it has. Wide rows go from
the disk to where they are needed, and not through the JVM.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kdspark import tables
from kdspark.errors import StageError
from kdspark.spark.io import count_rows, training_files, uri
from kdspark.spark.order import whole_users
from kdspark.spark.workers import keep_zip_directories

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Task = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]

_NUMBER = re.compile(r"part-(\d+)-")  # of the partition that Spark wrote
_USERS = 1 << 13  # read at once


def laid_out(frame: "DataFrame", rows: int) -> "DataFrame":
    """Rows of users in the layout of a users' table of so many rows, fixed by the data alone: models train from it."""
    return whole_users(frame, training_files(rows)).sortWithinPartitions(tables.USER_IDX)


def write_beside(frame: "DataFrame", users: Path, folder: Path) -> Path:
    """Write what is to stand beside the rows of a users' table.

    Args:
        frame: user_idx and other columns, any number of rows per user.
        users: folder of the table, as `laid_out`.
        folder: must not exist.

    Returns:
        `folder`.
    """
    laid_out(frame, count_rows(users)).write.parquet(uri(folder))
    return folder


@dataclass(frozen=True)
class UserPass:
    """What a task makes of the users' rows, not yet computed.

    Attributes:
        files: a row per file of users, in as many partitions as there are tasks.
        make: batches of these rows to batches of `schema`; runs in the workers.
    """

    files: "DataFrame"
    make: Task
    schema: str

    def frame(self) -> "DataFrame":
        """As a lazy frame."""
        return self.files.mapInArrow(self.make, self.schema)

    def then(self, task: Task, schema: str) -> "UserPass":
        """What another task makes of it in the same worker."""
        first = self.make
        return UserPass(self.files, lambda batches: task(first(batches)), schema)


def map_users(
    spark: "SparkSession",
    users: Path,
    beside: Sequence[Path],
    columns: Sequence[str],
    task: Task,
    schema: str,
    tasks: int,
) -> UserPass:
    """What a task makes of the users' rows.

    Args:
        users: folder of a table as `laid_out`, which all executors see under this path, as they see `beside`.
        beside: what `write_beside` wrote. Each column is one of lists, of a user's rows in any order.
        columns: of the users' table.
        task: Arrow batches of these columns, followed by those of `beside`, to batches of `schema`.
        tasks: at most; each takes some files.

    Raises:
        StageError: when computed: a row beside does not lie where its user does.
    """
    files = [_UserFile(str(path), _numbered(beside, number), list(columns)) for number, path in _parts(users).items()]

    def build(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        keep_zip_directories()
        numbers = (number for batch in batches for number in batch.column(0).to_pylist())
        return task(rows for number in numbers for rows in files[number].rows())

    return UserPass(spark.range(0, len(files), 1, max(1, min(tasks, len(files)))), build, schema)


def _numbered(folders: Sequence[Path], number: int) -> list[tuple[str, str | None]]:
    """For each folder any of its files, for the columns, and the file of this number if there is one."""
    parts = [_parts(folder) for folder in folders]
    return [(str(next(iter(part.values()))), str(part[number]) if number in part else None) for part in parts if part]


def _parts(folder: Path) -> dict[int, Path]:
    found = {}
    for path in sorted(folder.glob("*.parquet")):
        number = _NUMBER.match(path.name)
        if number is None or int(number[1]) in found:
            raise StageError(f"{path} is not a file as Spark names them.", "Delete the stage's folder; run it again.")
        found[int(number[1])] = path
    return found


@dataclass(frozen=True)
class _UserFile:
    """A file of users, and the files beside it."""

    path: str
    beside: list[tuple[str, str | None]]
    columns: list[str]

    def rows(self) -> Iterator[pa.RecordBatch]:
        sides = [_Side(pq.read_schema(some), file) for some, file in self.beside]
        names = [tables.USER_IDX, *(name for name in self.columns if name != tables.USER_IDX)]
        for batch in pq.ParquetFile(self.path).iter_batches(_USERS, columns=names):
            users = np.asarray(batch.column(tables.USER_IDX), np.int64)
            found = [(name, column) for side in sides for name, column in side.of(users).items()]
            columns = [*((name, batch.column(name)) for name in names), *found]
            yield pa.RecordBatch.from_arrays([column for _, column in columns], [name for name, _ in columns])
        for side, (_, file) in zip(sides, self.beside, strict=True):
            if side.met != len(side.users):
                raise StageError(
                    f"{file}: {len(side.users) - side.met:,} users are not in {self.path}.",
                    "The tables do not belong together: delete the stage's folder and run it again.",
                )


class _Side:
    """One file beside, whole in memory: it is narrow.

    Attributes:
        users: of its rows, ascending.
        met: how many rows have been asked for.
    """

    def __init__(self, schema: pa.Schema, path: str | None) -> None:
        table = schema.empty_table() if path is None else pq.read_table(path)
        table = table.sort_by(tables.USER_IDX)
        self.users = np.asarray(table.column(tables.USER_IDX), np.int64)
        names = [name for name in schema.names if name != tables.USER_IDX]
        self._columns = {name: pa.concat_arrays(table.column(name).chunks) for name in names if table.num_rows}
        self._types = {name: schema.field(name).type for name in names}
        self.met = 0

    def of(self, users: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        """Its columns for some users."""
        starts, stops = (np.searchsorted(self.users, users, side) for side in ("left", "right"))
        lengths = stops - starts
        ends = np.cumsum(lengths)
        self.met += int(lengths.sum())
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        places = pa.array(np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths))
        return {
            name: pa.ListArray.from_arrays(
                offsets, self._columns[name].take(places) if self._columns else pa.array([], kind)
            )
            for name, kind in self._types.items()
        }
