"""Factors, and what users have seen, drawn as the tables that the scoring stage reads: only the cost is measured.

Legend: U users, N items, D dims.
"""

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from kdspark import tables
from kdspark.bridge.arrow import list_array
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.recommendations import write_recommendations
from kdspark.bridge.rules import ShippedRules
from kdspark.config import FeaturesConfig, ScoringConfig
from kdspark.models.batch import ItemTable
from kdspark.models.closed_form import Factors
from kdspark.models.storage import save_serving
from kdspark.ranking.ragged import Csr, latest
from kdspark.ranking.topk import top_k
from kdspark.spark.io import read_table, uri
from kdspark.spark.user_files import laid_out
from kdspark.stages.score import recommendations

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DATE = dt.date(2024, 3, 1)
_USUAL, MORE_SEEN, _FEW = 50, 150, 50  # events; of every so many users the first has more than a history holds
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """How many users and items, and of how many dimensions. A user has seen 50 items, one of 50 users 150.

    Args:
        als: whether ALS is to do it, too.
        heavy: items that the first user has seen.
    """

    users: int
    items: int
    dims: int
    als: bool = False
    heavy: int = MORE_SEEN


class Drawn:
    """Drawn once, and written where the scoring stage looks for it."""

    def __init__(self, spark: "SparkSession", shape: Shape, folder: Path, k: int) -> None:
        self.spark, self.shape, self.folder, self.k = spark, shape, folder, k
        generator = np.random.default_rng(0)
        self.users_UD = generator.standard_normal((shape.users, shape.dims), np.float32)
        self.items_ND = generator.standard_normal((shape.items, shape.dims), np.float32)
        counts = event_counts(np.arange(shape.users))
        counts[0] = shape.heavy
        self.indptr = np.concatenate([[0], np.cumsum(counts)])
        self.seen = generator.integers(0, shape.items, self.indptr[-1], np.int32)
        self.seen[: shape.heavy] = generator.permutation(shape.items)[: shape.heavy]
        folder.mkdir(parents=True)
        self._write()

    def kernel(self) -> tuple[npt.NDArray[np.int32], Floats]:
        """The lists, from arrays in memory."""
        seen = self.indptr, self.seen
        return top_k(self.users_UD, self.items_ND, self.k, seen, threads=torch.get_num_threads())

    def job(self, compiled: Callable[[], ShippedRules] | None = None) -> Callable[[], object]:
        """The scoring stage's own functions, from Parquet to Parquet, under the rules if there are any."""
        config = ScoringConfig(k=self.k)

        def score() -> object:
            scratch = self.folder / "scratch"
            for folder in (scratch, self.folder / "lists"):
                shutil.rmtree(folder, ignore_errors=True)
            prepared, bundle = Prepared(self.folder), self.folder / "serving"
            found = recommendations(self.spark, prepared, bundle, config, scratch, compiled)
            return write_recommendations(found, config, _DATE, "drawn", self.folder / "lists")

        return score

    def _write(self) -> None:
        shape, folder = self.shape, self.folder
        catalogue = ItemTable.without_features(np.ones(shape.items, np.int64))
        save_serving(Factors.from_numpy(self.users_UD, self.items_ND, catalogue), folder / "serving")
        everyone, events = np.arange(shape.users, dtype=np.int32), (self.indptr, self.seen)
        write(folder / "drawn_users", user_columns(everyone, events))
        users = read_table(self.spark, folder / "drawn_users")
        laid_out(users, shape.users).write.parquet(uri(folder / "users_full"))
        write(
            folder / "interactions",
            event_columns(everyone, events),
            files=-(-len(self.seen) // 1_000_000),
            starts=self.indptr,  # whole users
        )
        write(folder / "user_ids", {tables.USER_IDX: everyone, tables.USER_ID: pa.array(everyone.astype(np.int64))})
        items = np.arange(shape.items, dtype=np.int32)
        write(folder / "item_ids", {tables.ITEM_IDX: items, tables.ITEM_ID: pa.array(items.astype(np.int64))})


def event_counts(users: Ints, usual: int = _USUAL) -> Ints:
    """How many events users have: one of 50 more than a history holds."""
    return np.where(users % _FEW == 0, MORE_SEEN, usual)


def user_columns(users: npt.NDArray[np.int32], events: Csr) -> dict[str, Any]:
    """A users' table without features."""
    return {
        tables.USER_IDX: users,
        tables.USER_ID: users.astype(np.int64),
        tables.N_EVENTS: np.diff(events[0]).astype(np.int32),
        tables.HISTORY: list_array(latest(events, FeaturesConfig().history_length), pa.int32()),
        **no_features(len(users)),
    }


def event_columns(users: npt.NDArray[np.int32], events: Csr) -> dict[str, Any]:
    """Table "interactions" of the same users, without weights; times are those of one clock for all."""
    counts = np.diff(events[0])
    return {
        tables.USER_IDX: np.repeat(users, counts),
        tables.ITEM_IDX: events[1].astype(np.int32),
        tables.TS: np.arange(len(events[1])),
        tables.SPLIT: pa.array(np.repeat(tables.TRAIN, len(events[1]))),
    }


def no_features(rows: int) -> dict[str, pa.ListArray]:
    """The columns of features of users or items that have none."""
    kinds = {tables.CODES: pa.int32(), tables.NUMBERS: pa.float32(), tables.VECTOR: pa.float32()}
    return {name: list_array(np.empty((rows, 0), kind.to_pandas_dtype()), kind) for name, kind in kinds.items()}


def rows_of(turns: dict[str, list[tuple[float, float]]], shape: Shape, k: int) -> list[dict[str, Any]]:
    """A row per method, of the median turn.

    Args:
        turns: method -> (processor seconds, wall seconds) of each.
    """
    return [
        {
            "method": name,
            "users": shape.users,
            "items": shape.items,
            "dims": shape.dims,
            "k": k,
            "cpu_seconds": median(cpu for cpu, _ in spent),
            "wall_seconds": median(wall for _, wall in spent),
        }
        for name, spent in turns.items()
    ]


def write(folder: Path, columns: dict[str, Any], files: int = 4, starts: npt.NDArray[np.int64] | None = None) -> None:
    """A table in so many files.

    Args:
        starts: rows at which files may begin, and the end; None: any.
    """
    folder.mkdir(parents=True)
    table = pa.table(columns)
    starts = np.arange(table.num_rows + 1) if starts is None else starts
    bounds = starts[np.linspace(0, len(starts) - 1, files + 1).astype(int)]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        pq.write_table(table.slice(start, stop - start), folder / f"part-{number}.parquet", row_group_size=100_000)
