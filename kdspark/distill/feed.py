"""Parquet tables from disk as fixed-shape torch batches, shuffled and sharded.

Lay the tables out in row groups of a few thousand rows (write_table aims at 2 MiB): the row group is the unit that
is read, sharded and shuffled. There must be at least one per process, and several per process keep shards even.
"""

import contextlib
import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from kdspark.distill.footers import row_groups
from kdspark.distill.petastorm_reader import BadColumnError, open_folder, opened
from kdspark.distill.prefetch import prefetched
from kdspark.distill.shuffling import Chunk, joined, permuted, rebatched, rows_of, shuffled
from kdspark.errors import InputError, TrainingError

STALL_S = 300.0
"""Seconds without data after which an epoch fails, unless told otherwise."""


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
        buffer_rows: rows of that buffer, which takes the memory of twice as many. A shard of at most that size is read
            once and stays in memory, and every epoch permutes it uniformly; a larger one is read in every epoch.
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
        timeout_s: float = STALL_S,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world or not columns:
            raise ValueError("need batch_size >= 1, 0 <= rank < world and at least one column")
        self.path = str(path)
        self.columns = list(columns)
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.shuffle, self.buffer_rows, self.timeout_s = shuffle, buffer_rows, timeout_s
        self._fs, self._root = open_folder(self.path)
        group_rows = row_groups(self._fs, self._root, self.path, self.columns)
        self.rows = sum(group_rows)
        shards = [sum(group_rows[r::world]) for r in range(world)]
        self.shard_rows = shards[rank]
        self.steps = math.ceil(max(shards) / batch_size)
        self._check_rows(expected_rows, shards)
        self._kept: Chunk | None = None

    def epoch(self, number: int, steps: int | None = None) -> Generator[dict[str, torch.Tensor], None, None]:
        """Batches of one epoch: `steps` of them, by default this feed's own number.

        They hold int64 for integers and booleans, float32 for floats.

        A single process sees every row once; its last batch may be shorter. With several, all batches are full: a
        rank that runs out of rows starts its shard again in another order, so every row is seen at least once.
        Closing the iterator early, or an exception, releases the reader and its threads.

        Raises:
            TrainingError: rows were lost while reading, or a file cannot be read.
        StalledError: no data came in time.
            InputError: nulls or lists of different lengths in a column.
        """
        with contextlib.closing(self._chunks(number)) as chunks:
            batches = rebatched(chunks, self.batch_size)
            for batch in batches if self.world == 1 else itertools.islice(batches, steps or self.steps):
                yield {name: _tensor(batch[name]) for name in self.columns}

    def _chunks(self, epoch: int) -> Generator[Chunk, None, None]:
        for turn in itertools.count() if self.world > 1 else range(1):
            rng = np.random.default_rng([self.seed, epoch, self.rank, turn])
            if self.shuffle and self.shard_rows <= 2 * self.buffer_rows:
                yield from permuted(self._shard(), self.batch_size, rng)
                continue
            order = int(rng.integers(2**32)) if self.shuffle else None
            with contextlib.closing(self._one_pass(order)) as chunks:
                yield from shuffled(chunks, self.buffer_rows, rng) if self.shuffle else chunks

    def _shard(self) -> Chunk:
        """The whole shard in the order of the files, read when it is first asked for."""
        if self._kept is None:
            with contextlib.closing(self._one_pass(None)) as chunks:
                self._kept = joined(list(chunks))
        return self._kept

    def _one_pass(self, order: int | None) -> Generator[Chunk, None, None]:
        """The shard's row groups, once, counted, in an order of that seed; None for that of the files."""
        rows = 0
        shapes: dict[str, tuple[int, ...]] = {}
        with (
            opened(self._fs, self._root, self.columns, order, self.rank, self.world) as read,
            contextlib.closing(self._ahead(read)) as chunks,
        ):
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

    def _ahead(self, read: Iterator[Chunk]) -> Generator[Chunk, None, None]:
        try:
            yield from prefetched(read, self.path, self.timeout_s)
        except BadColumnError as error:
            raise _ragged(self.path, str(error)) from None
        except (OSError, pa.ArrowException) as error:
            raise TrainingError(
                f"{self.path}: cannot be read ({error}).", "Delete the stage's folder and run it again."
            ) from error

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


def _tensor(values: Any) -> torch.Tensor:
    wanted = np.float32 if values.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.require(values, wanted, ["C", "W"]))


def _ragged(path: str, column: str) -> InputError:
    return InputError(
        f"{path}: column {column!r} holds nulls or lists of different lengths.",
        "Write it with fixed-length lists, padded, without nulls.",
    )
