"""Parquet tables from disk as fixed-shape torch batches, through Petastorm. The only module that names petastorm.

Lay the tables out in row groups of a few thousand rows (write_table aims at 2 MiB): the row group is the unit that
is read, sharded and shuffled. There must be at least one per process, and several per process keep shards even.

Why not `make_batch_reader` and `BatchedDataLoader` as they come: they stack lists row by row (2.7 times slower on rows
of 50 + 64 ints + 64 floats than flattening the Arrow columns; with the loader's shuffling 9 times), they shuffle by
torch's global generator, and they parse a local path as a URL, so that `#` or `?` in it breaks. `make_batch_reader`
only puts together a `Reader`, a pool and a worker class; here it is done with a worker class that keeps Arrow columns.

Petastorm's pools have a race: they ask "is nothing in flight?" and "is the ventilator done?" in this order, and a row
group handed out in between is given up silently. Asking once more after the end closes the race (by then the
ventilator is done for certain); rows are counted against the footers and the manifest all the same.
"""

import contextlib
import itertools
import math
import re
import warnings
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from petastorm.arrow_reader_worker import ArrowReaderWorker
from petastorm.cache import NullCache
from petastorm.fs_utils import get_filesystem_and_path_or_paths, normalize_dir_url
from petastorm.reader import Reader
from petastorm.workers_pool import EmptyResultError
from petastorm.workers_pool.thread_pool import ThreadPool

from kdspark.distill.prefetch import FeedStalledError, prefetched
from kdspark.distill.shuffling import Chunk, rebatched, rows_of, shuffled
from kdspark.errors import InputError, TrainingError

_READ_AHEAD = 4  # row groups held by the pool
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


class ParquetFeed:
    """One table, or this process's shard of it, as batches of int64 and float32 tensors.

    Args:
        path: folder of Parquet files, or a URL that Petastorm knows (s3://, hdfs://, gs://, file://).
        columns: integer, boolean or float columns, or lists of them with one length throughout.
        batch_size: rows per batch and process.
        seed: with `rank` and the epoch's number decides the order; nothing else does, no thread timing either.
        expected_rows: rows of the whole table by its manifest; None: the footers are believed.
        rank, world: this process and the number of processes. Row group i belongs to rank i % world.
        shuffle: order of row groups, then rows through a buffer. False keeps the order of the files.
        buffer_rows: rows of that buffer; a shard that fits is permuted uniformly. Memory: this many rows, twice.
        timeout_s: seconds without data after which an epoch fails.

    Attributes:
        rows: rows of the whole table.
        shard_rows: rows of this rank's shard.
        steps: batches per epoch, the same on every rank: ceil of the largest shard over `batch_size`.

    Raises:
        InputError: no such folder, a Petastorm metadata file (it holds a pickle that would be executed), a column
            missing or of a type that is no tensor, no rows, fewer non-empty shards than processes.
        TrainingError: the table does not have `expected_rows` rows.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Sequence[str],
        batch_size: int,
        seed: int,
        expected_rows: int | None = None,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
        buffer_rows: int = 65_536,
        timeout_s: float = 300.0,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world or not columns:
            raise ValueError("need batch_size >= 1, 0 <= rank < world and at least one column")
        self.path = str(path)
        self.columns = list(columns)
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.shuffle, self.buffer_rows, self.timeout_s = shuffle, buffer_rows, timeout_s
        with _quiet():
            self._fs, self._root = _resolve(self.path)
            group_rows = _row_groups(self._fs, self._root, self.path, self.columns)
        self.rows = sum(group_rows)
        shards = [sum(group_rows[r::world]) for r in range(world)]
        self.shard_rows = shards[rank]
        self.steps = math.ceil(max(shards) / batch_size)
        self._check_rows(expected_rows, shards)

    def epoch(self, number: int, steps: int | None = None) -> Generator[dict[str, torch.Tensor], None, None]:
        """Batches of one epoch: `steps` of them, by default this feed's own number.

        They hold int64 for integers and booleans, float32 for floats.

        A single process sees every row once; its last batch may be shorter. With several, all batches are full: a
        rank that runs out of rows starts its shard again in another order, so every row is seen at least once.
        Closing the iterator early, or an exception, releases the reader and its threads.

        Raises:
            TrainingError: rows were lost while reading, a file cannot be read, or no data came in time.
            InputError: nulls or lists of different lengths in a column.
        """
        with contextlib.closing(self._chunks(number)) as chunks:
            batches = rebatched(chunks, self.batch_size)
            for batch in batches if self.world == 1 else itertools.islice(batches, steps or self.steps):
                yield {name: _tensor(batch[name]) for name in self.columns}

    def _chunks(self, epoch: int) -> Generator[Chunk, None, None]:
        for turn in itertools.count() if self.world > 1 else range(1):
            rng = np.random.default_rng([self.seed, epoch, self.rank, turn])
            with contextlib.closing(self._one_pass(int(rng.integers(2**32)))) as chunks:
                yield from shuffled(chunks, self.buffer_rows, rng) if self.shuffle else chunks

    def _one_pass(self, seed: int) -> Generator[Chunk, None, None]:
        """The shard's row groups, once, counted."""
        rows = 0
        shapes: dict[str, tuple[int, ...]] = {}
        with self._open(seed) as reader, contextlib.closing(self._ahead(reader)) as chunks:
            for chunk in chunks:
                for name, values in chunk.items():
                    if shapes.setdefault(name, values.shape[1:]) != values.shape[1:]:
                        raise _ragged(self.path, name)
                rows += rows_of(chunk)
                yield chunk
        if rows != self.shard_rows:
            raise TrainingError(
                f"{self.path}: {rows} rows arrived of {self.shard_rows} in this shard.",
                "Run the stage again; if it comes back, check the storage.",
            )

    def _ahead(self, reader: Reader) -> Generator[Chunk, None, None]:
        try:
            yield from prefetched(_drain(reader), self.path, self.timeout_s)
        except _BadColumnError as error:
            raise _ragged(self.path, str(error)) from None
        except (OSError, pa.ArrowException) as error:
            raise TrainingError(
                f"{self.path}: cannot be read ({error}).", "Delete the stage's folder and run it again."
            ) from error

    @contextlib.contextmanager
    def _open(self, seed: int) -> Iterator[Reader]:
        with _quiet():
            reader = Reader(
                self._fs,
                self._root,
                schema_fields=[re.escape(name) + "$" for name in self.columns],
                worker_class=_ColumnWorker,
                reader_pool=ThreadPool(1, _READ_AHEAD),  # one worker: first in, first out, whatever the timing
                is_batched_reader=True,
                cache=NullCache(),
                num_epochs=1,
                seed=seed,
                shuffle_row_groups=self.shuffle,
                cur_shard=self.rank if self.world > 1 else None,
                shard_count=self.world if self.world > 1 else None,
            )
        stalled = False
        try:
            yield reader
        except FeedStalledError:
            stalled = True
            raise
        finally:
            reader.stop()
            if not stalled:  # a blocked thread cannot be joined; it is a daemon
                reader.join()

    def _check_rows(self, expected: int | None, shards: list[int]) -> None:
        if expected is not None and self.rows != expected:
            raise TrainingError(
                f"{self.path}: {self.rows} rows by its Parquet footers, {expected} by its manifest.",
                "Delete the stage's folder and run it again.",
            )
        if self.rows == 0:
            raise InputError(f"{self.path}: the table has no rows.", "Check the filters of the stage that wrote it.")
        if min(shards) == 0:
            raise InputError(
                f"{self.path}: too few row groups to give each of {self.world} processes rows.",
                "Lower training.num_processes, or write the table in smaller row groups.",
            )


class _BadColumnError(Exception):
    """A column with nulls or with lists of different lengths."""


class _Columns:
    """Takes the place of Petastorm's reader of results: Arrow columns become arrays without a Python loop."""

    batched_output = True

    def read_next(self, pool: Any, schema: Any, ngram: Any) -> Chunk:
        try:
            table = pool.get_results()
        except EmptyResultError:
            raise StopIteration from None
        return {name: _array(name, table.column(name)) for name in table.column_names}


class _ColumnWorker(ArrowReaderWorker):  # type: ignore[misc]
    """Petastorm's worker, which reads row groups by the pieces it is given and need not list the folder again.

    Not opening the deprecated dataset object in the worker's thread also keeps that thread free of warnings, which
    could be silenced there only for the whole process.
    """

    def __init__(self, worker_id: int, publish: Any, arguments: Sequence[Any]) -> None:
        super().__init__(worker_id, publish, arguments)
        self._dataset = SimpleNamespace(fs=arguments[0], partitions=None)

    @staticmethod
    def new_results_queue_reader() -> _Columns:
        return _Columns()


def _drain(reader: Reader) -> Iterator[Chunk]:
    """All chunks of a reader; see the module's docstring for the second question after the end."""
    while (chunk := next(reader, None)) is not None or (chunk := next(reader, None)) is not None:
        yield chunk


def _array(name: str, column: pa.ChunkedArray) -> Any:
    array = pa.concat_arrays(column.chunks)
    if array.null_count:
        raise _BadColumnError(name)
    if not _is_list(array.type):
        return array.to_numpy(zero_copy_only=False)
    lengths, flat = pc.list_value_length(array), array.flatten()
    if flat.null_count or len(pc.unique(lengths)) > 1:
        raise _BadColumnError(name)
    return flat.to_numpy(zero_copy_only=False).reshape(len(array), lengths[0].as_py())


def _tensor(values: Any) -> torch.Tensor:
    wanted = np.float32 if values.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.require(values, wanted, ["C", "W"]))


def _ragged(path: str, column: str) -> InputError:
    return InputError(
        f"{path}: column {column!r} holds nulls or lists of different lengths.",
        "Write it with fixed-length lists, padded, without nulls.",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what petastorm and the pyarrow interfaces it uses say about their age, here and nowhere else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _resolve(path: str) -> tuple[Any, str]:
    if _URL.match(path) and not path.startswith("file://"):
        return get_filesystem_and_path_or_paths(normalize_dir_url(path))  # type: ignore[no-any-return]
    local = Path(path.removeprefix("file://")).absolute()
    if not local.is_dir():
        raise InputError(f"{path}: no such folder.", "Run the stage that writes it first.")
    filesystem, _ = get_filesystem_and_path_or_paths("file:///")
    return filesystem, str(local)  # not through a URL: `#`, `?` and `;` are letters of a path


def _row_groups(fs: Any, root: str, path: str, columns: list[str]) -> list[int]:
    """Rows of every row group, in Petastorm's order: files by path, then as in the file."""
    files = []
    for folder, _, names in fs.walk(root):
        if refused := [name for name in names if name.endswith("_metadata")]:
            raise InputError(
                f"{path}: holds {refused[0]}, a metadata file that Petastorm would unpickle, that is, execute.",
                "Delete it, or write the table again with Spark.",
            )
        if not any(_is_hidden(part) and "=" not in part for part in folder[len(root) :].split("/")):
            files += [f"{folder}/{name}" for name in names if not _is_hidden(name)]
    group_rows: list[int] = []
    for file in sorted(files):
        try:
            with fs.open(file, "rb") as handle:
                footer = pq.read_metadata(handle)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: not a readable Parquet file ({error}).", "Delete or replace it.") from error
        _check_columns(file, footer.schema.to_arrow_schema(), columns)
        group_rows += [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    return group_rows


def _is_hidden(name: str) -> bool:
    return name.startswith(("_", ".")) or name.endswith((".crc", "_$folder$"))


def _check_columns(file: str, schema: pa.Schema, columns: list[str]) -> None:
    for name in columns:
        if name not in schema.names:
            raise InputError(f"{file}: column {name!r} is missing.", f"It has: {', '.join(schema.names)}.")
        kind = schema.field(name).type
        kind = kind.value_type if _is_list(kind) else kind
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise InputError(f"{file}: column {name!r} is {kind}, which is no tensor.", "Leave it out.")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
