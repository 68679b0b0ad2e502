"""Training positions drawn as the tables that the stage of soft labels reads, and that stage on them.

Legend: R rows, L history length.
"""

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from drawn import event_columns, event_counts, no_features, write

from kdspark import tables
from kdspark.bridge.arrow import list_array
from kdspark.bridge.prepared import FEATURES_FILE
from kdspark.config import Config, TransformerConfig, parse_config
from kdspark.models.batch import FeatureSizes, ItemTable, UserBatch
from kdspark.models.build import build_model
from kdspark.models.closed_form import Factors
from kdspark.models.recommender import Recommender
from kdspark.models.storage import save_serving
from kdspark.ranking.ragged import Csr, latest
from kdspark.stages import labels, prepare, teacher
from kdspark.stages.stage import Night, Task
from kdspark.workspace import Workspace, write_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HISTORY = 50
_FILES = 8
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """A log, who answers and who learns.

    Args:
        users: one of 50 has 150 events.
        events: of each of the others.
        teacher: "transformer", of two layers and heads, or "als", factors.
        student: of kind "gru" learns at every position, "mf" once per user.
        epochs: that it trains.
    """

    users: int
    events: int = 40
    items: int = 24_000
    dims: int = 64
    teacher: str = "transformer"
    student: str = "gru"
    epochs: int = 1


class Positions:
    """Events drawn once, and written where the stage looks for them.

    Attributes:
        config: the night's.
        prepared, bundle, out: folders of the tables, of the teacher, and of what the stage writes.
        users: user_idx [R] of the positions that are labelled, in their order; none for a student "mf".
        done: what they had done, as CSR.
        catalogue: the items, without features, each of which may be recommended.
    """

    def __init__(self, spark: "SparkSession", shape: Shape, folder: Path) -> None:
        self.shape, self.config = shape, _config(shape)
        shutil.rmtree(folder, ignore_errors=True)
        self.prepared, self.bundle, self.out = folder / "prepared", folder / "teacher" / teacher.SERVING, folder / "out"
        inputs = {prepare.NAME: self.prepared, teacher.name("train"): self.bundle.parent}
        night = Night(self.config, dt.date(2024, 1, 1), Workspace(folder), lambda: spark)
        self._task = Task(night, labels.name("train"), "", {}, self.out, inputs, folder / "checkpoints")
        self.catalogue = ItemTable.without_features(np.ones(shape.items, np.int64))
        self._draw()
        save_serving(_teacher(shape, self.catalogue), self.bundle)

    def label(self) -> None:
        """The stage, as a night runs it, and its manifest."""
        shutil.rmtree(self.out, ignore_errors=True)
        outcome = labels.stage("train").build(self._task)
        write_json(self.out / "manifest.json", {"rows": outcome.rows})

    @property
    def batch(self) -> UserBatch:
        """All rows, histories padded, as a model wants them."""
        nothing, numbers = np.empty((len(self.users), 0), np.int64), np.empty((len(self.users), 0), np.float32)
        return UserBatch.from_numpy(self.users, latest(self.done, HISTORY), nothing, numbers, numbers)

    def _draw(self) -> None:
        generator, shape = np.random.default_rng(0), self.shape
        counts = event_counts(np.arange(shape.users), shape.events)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        items = generator.integers(0, shape.items, indptr[-1])
        most = self.config.data.examples.max_positions if self.config.soft_labels.positions else 0
        firsts = np.maximum(1, counts - most)
        self.users = np.repeat(np.arange(shape.users), counts - firsts)
        starts = np.cumsum(counts - firsts) - (counts - firsts)
        positions = np.arange(len(self.users)) - np.repeat(starts - firsts, counts - firsts)
        bounds = np.concatenate([[0], np.cumsum(positions)])
        places = np.arange(bounds[-1]) + np.repeat(indptr[self.users] - bounds[:-1], positions)
        self.done = bounds, items[places]
        self._write(counts, (indptr, items), positions, items[indptr[self.users] + positions])

    def _write(self, counts: Ints, events: Csr, positions: Ints, targets: Ints) -> None:
        folder, users = self.prepared, np.arange(self.shape.users)
        _table(
            folder / "examples_train",
            tables.USER_IDX,
            self.users,
            {
                tables.POSITION: positions.astype(np.int32),
                tables.HISTORY: _lists(latest(self.done, HISTORY)),
                tables.TARGETS: _lists(targets[:, None]),
            },
        )
        columns = {tables.N_EVENTS: counts.astype(np.int32), tables.HISTORY: _lists(latest(events, HISTORY))}
        _table(folder / "users_train", tables.USER_IDX, users, columns)
        interactions = event_columns(users.astype(np.int32), events)
        write(folder / "interactions", interactions, files=1)
        everything = np.arange(self.shape.items)
        _table(folder / "items_train", tables.ITEM_IDX, everything, {tables.N_EVENTS: self.catalogue.n_events.numpy()})
        write(folder / "user_ids", {tables.USER_IDX: users.astype(np.int32)})
        write(folder / "item_ids", {tables.ITEM_IDX: everything.astype(np.int32)})
        rows = {"examples_train": len(self.users), "users_train": len(users)}
        write_json(folder / "manifest.json", {"rows": rows, "facts": {"splits": {tables.VALID: 0}}})
        write_json(folder / FEATURES_FILE, {"user_sizes": {}, "examples_kind": "next_item", "repeats": False})


def _config(shape: Shape) -> Config:
    return parse_config(
        {
            "data": {
                "interactions": {"paths": "drawn", "format": "parquet"},
                "columns": {"user": "user", "item": "item", "timestamp": "ts"},
                "features": {"history_length": HISTORY},
                "examples": {"history_length": HISTORY, "max_positions": HISTORY},
            },
            "teacher": {"kind": "ease"},  # what answers is drawn
            "student": {"kind": shape.student},
        }
    )


def _teacher(shape: Shape, catalogue: ItemTable) -> Recommender:
    if shape.teacher == "als":
        generator = np.random.default_rng(1)
        sides = [generator.standard_normal((rows, shape.dims), np.float32) for rows in (shape.users, shape.items)]
        return Factors.from_numpy(*sides, catalogue)
    config = TransformerConfig(dim=shape.dims, history_length=HISTORY)
    return build_model(config, shape.users, shape.items, catalogue, FeatureSizes(), seed=1)


def _table(folder: Path, key: str, indices: Ints, columns: dict[str, Any]) -> None:
    """Rows of users, or items, without features."""
    write(folder, {key: indices.astype(np.int32), **columns, **no_features(len(indices))}, files=_FILES)


def _lists(values_RL: Ints) -> pa.ListArray:
    return list_array(values_RL.astype(np.int32), pa.int32())
