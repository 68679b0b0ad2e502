"""What a user did, in a row: counts, first and last time, and the latest items; from the interactions table's files.

That table's files hold whole users, one after the other, latest events first (`order.by_user`). So a pass over each
file tells all, without a shuffle or a sort, and as arrays: no Python object per event. A file is read in batches, and
of a user whose events go on in the next one no more is kept than the latest items: one who has most of the log's
events costs no more memory than another.

Legend: E events of a batch, U users in it, L history length.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdspark import tables
from kdspark.spark.workers import keep_zip_directories

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Ints = npt.NDArray[np.int64]

SCHEMA = (
    f"{tables.USER_IDX} INT, {tables.N_EVENTS} INT, {tables.FIRST_TS} BIGINT, {tables.LAST_TS} BIGINT, "
    f"{tables.HISTORY} ARRAY<INT>"
)
_COLUMNS = [tables.USER_IDX, tables.ITEM_IDX, tables.TS]
_ROWS, _USERS = 1 << 17, 1 << 13  # read, written at once
_LATE, _EARLY = np.iinfo(np.int64).max, np.iinfo(np.int64).min  # stand for no time in a minimum, in a maximum


def read_histories(spark: "SparkSession", interactions: Path, splits: Iterable[str], length: int) -> "DataFrame":
    """(user_idx, n_events, first_ts, last_ts, history), a row per user with an event in these splits.

    Args:
        interactions: folder of table "interactions", which all executors see under this path.
        length: L; histories are the latest L items, oldest first, padded on the left.
    """
    wanted = list(splits)
    return _file_by_file(spark, interactions, lambda path: histories_of(path, wanted, length), SCHEMA)


def read_seen(
    spark: "SparkSession", interactions: Path, splits: Iterable[str] = tables.SPLITS, beyond: int = 0
) -> "DataFrame":
    """(user_idx, seen ARRAY<INT>), the distinct items, ascending, of each user with events in these splits.

    Args:
        beyond: events that a user has to have more of.
    """
    wanted = list(splits)
    schema = f"{tables.USER_IDX} INT, {tables.SEEN} ARRAY<INT>"
    return _file_by_file(spark, interactions, lambda path: _seen_of(path, wanted, beyond), schema)


def _file_by_file(
    spark: "SparkSession", folder: Path, read: Callable[[str], Iterator[pa.RecordBatch]], schema: str
) -> "DataFrame":
    """What `read` makes of each file, one file to a task."""
    paths = [str(path) for path in sorted(folder.glob("*.parquet"))]

    def build(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        keep_zip_directories()
        for batch in batches:
            for file in batch.column(0).to_pylist():
                yield from read(paths[file])

    found = spark.range(0, len(paths), 1, len(paths)).mapInArrow(build, schema)
    return found.hint("merge")  # Spark takes it to be as small as the numbers of the files, and would broadcast it


def _seen_of(path: str, splits: list[str], beyond: int) -> Iterator[pa.RecordBatch]:
    """In blocks of users."""
    wanted = pc.field(tables.SPLIT).isin(splits)
    events = pq.read_table(path, columns=[tables.USER_IDX, tables.ITEM_IDX], filters=wanted)
    users_E, items_E = (np.asarray(events.column(name), np.int64) for name in (tables.USER_IDX, tables.ITEM_IDX))
    starts_U = np.flatnonzero(np.diff(users_E, prepend=-1))
    counts_U = np.diff(starts_U, append=len(users_E))
    wanted_E = np.repeat(counts_U > beyond, counts_U)
    pairs_E = np.unique(users_E[wanted_E] << 32 | items_E[wanted_E])
    users_E, items_E = pairs_E >> 32, (pairs_E & 0xFFFF_FFFF).astype(np.int32)
    starts_U = np.flatnonzero(np.diff(users_E, prepend=-1))
    bounds_U = np.append(starts_U, len(users_E))
    for first in range(0, len(starts_U), _USERS):
        bounds = bounds_U[first : first + _USERS + 1]
        offsets = pa.array((bounds - bounds[0]).astype(np.int32))
        lists = pa.ListArray.from_arrays(offsets, pa.array(items_E[bounds[0] : bounds[-1]]))
        users = pa.array(users_E[bounds[:-1]].astype(np.int32))
        yield pa.RecordBatch.from_arrays([users, lists], [tables.USER_IDX, tables.SEEN])


def histories_of(path: str, splits: list[str], length: int, rows: int = _ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of one file's users, in order of user_idx.

    Args:
        rows: read at once.
    """
    held = _Held.nothing()
    for batch in pq.ParquetFile(path).iter_batches(rows, columns=[*_COLUMNS, tables.SPLIT]):
        kept = batch.filter(pc.is_in(batch.column(tables.SPLIT), pa.array(splits)))
        if kept.num_rows:
            done, held = held.followed_by(_Events.read(kept)).cut_off_last(length)
            if len(done.events.users_E):
                yield from done.as_rows(length)
    if len(held.events.users_E):
        yield from held.as_rows(length)


@dataclass(frozen=True)
class _Events:
    """Users in ascending order, latest events first; `timed_E` says which have a time."""

    users_E: Ints
    items_E: Ints
    ts_E: Ints
    timed_E: npt.NDArray[np.bool_]

    @classmethod
    def read(cls, batch: pa.RecordBatch) -> "_Events":
        users_E, items_E, ts_E = (batch.column(name) for name in _COLUMNS)
        return cls(
            np.asarray(users_E, np.int64),
            np.asarray(items_E, np.int64),
            np.asarray(pc.fill_null(ts_E, 0), np.int64),
            np.asarray(pc.is_valid(ts_E)),
        )

    def __getitem__(self, part: slice) -> "_Events":
        return _Events(self.users_E[part], self.items_E[part], self.ts_E[part], self.timed_E[part])

    def __add__(self, other: "_Events") -> "_Events":
        pairs = (
            (self.users_E, other.users_E),
            (self.items_E, other.items_E),
            (self.ts_E, other.ts_E),
            (self.timed_E, other.timed_E),
        )
        return _Events(*(np.concatenate(pair) for pair in pairs))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Held:
    """Events, and of the first user's some that are no longer there: how many, and the first time among them."""

    events: _Events
    gone: int
    first_ts: int

    @classmethod
    def nothing(cls) -> "_Held":
        none = np.empty(0, np.int64)
        return cls(_Events(none, none, none, np.empty(0, np.bool_)), 0, _LATE)

    def followed_by(self, events: _Events) -> "_Held":
        return _Held(self.events + events, self.gone, self.first_ts)

    def cut_off_last(self, length: int) -> "tuple[_Held, _Held]":
        """Everybody but the last user, who may go on; and that one, with the latest `length` events."""
        users_E = self.events.users_E
        start = int(np.searchsorted(users_E, users_E[-1]))
        last = self.events[slice(start, None)]
        gone, first_ts = (self.gone, self.first_ts) if start == 0 else (0, _LATE)
        first_ts = min(first_ts, int(np.where(last.timed_E, last.ts_E, _LATE).min()))
        held = _Held(last[slice(length)], gone + max(len(last.users_E) - length, 0), first_ts)
        return _Held(self.events[slice(start)], self.gone, self.first_ts), held

    def as_rows(self, length: int) -> Iterator[pa.RecordBatch]:
        """In blocks of users."""
        events = self.events
        starts_U = np.flatnonzero(np.diff(events.users_E, prepend=-1))
        counts_U = np.diff(starts_U, append=len(events.users_E))
        first_U = np.minimum.reduceat(np.where(events.timed_E, events.ts_E, _LATE), starts_U)
        last_U = np.maximum.reduceat(np.where(events.timed_E, events.ts_E, _EARLY), starts_U)
        first_U[0] = min(first_U[0], self.first_ts)
        items_E = events.items_E.astype(np.int32)
        places_L = np.arange(length - 1, -1, -1)  # back from the latest
        for start in range(0, len(starts_U), _USERS):
            part = slice(start, start + _USERS)
            there_UL = places_L < counts_U[part, None]
            history_UL = np.full(there_UL.shape, tables.PAD, np.int32)
            history_UL[there_UL] = items_E[(starts_U[part, None] + places_L)[there_UL]]
            n_events_U = counts_U[part].astype(np.int32)
            n_events_U[0] += self.gone if start == 0 else 0
            offsets = np.arange(len(history_UL) + 1, dtype=np.int32) * length
            arrays = [
                pa.array(events.users_E[starts_U[part]].astype(np.int32)),
                pa.array(n_events_U),
                pa.array(first_U[part], mask=first_U[part] == _LATE),
                pa.array(last_U[part], mask=last_U[part] == _EARLY),
                pa.ListArray.from_arrays(pa.array(offsets), pa.array(history_UL.reshape(-1))),
            ]
            names = [tables.USER_IDX, tables.N_EVENTS, tables.FIRST_TS, tables.LAST_TS, tables.HISTORY]
            yield pa.RecordBatch.from_arrays(arrays, names)
