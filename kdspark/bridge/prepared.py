"""Where the prepare stage put its tables, and the few of them that fit in memory, read without Spark.

Trainers run in processes of their own, on executors too, so they read Parquet directly.

Legend: B users, E events.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kdspark import tables
from kdspark.bridge.arrow import USER_COLUMNS, user_batch
from kdspark.models.batch import FeatureSizes, UserBatch
from kdspark.spark.io import count_rows
from kdspark.workspace import read_json

Scope = Literal["train", "full"]
Ints = npt.NDArray[np.int64]

FEATURES_FILE = "features.json"


@dataclass(frozen=True)
class Prepared:
    """The prepare stage's output folder, seen by trainers.

    Attributes:
        folder: the stage's folder.
    """

    folder: Path

    def users(self, scope: Scope) -> Path:
        return self.folder / f"users_{scope}"

    def items(self, scope: Scope) -> Path:
        return self.folder / f"items_{scope}"

    def examples(self, scope: Scope) -> Path:
        return self.folder / f"examples_{scope}"

    @property
    def interactions(self) -> Path:
        return self.folder / "interactions"

    @property
    def seen(self) -> Path:
        """Table with all of the night's (user_idx, item_idx), those that a filter left out of the events as well."""
        everything = self.folder / "seen"
        return everything if everything.is_dir() else self.interactions

    @cached_property
    def n_users(self) -> int:
        return count_rows(self.folder / "user_ids")

    @cached_property
    def n_items(self) -> int:
        return count_rows(self.folder / "item_ids")

    @cached_property
    def user_sizes(self) -> FeatureSizes:
        """Widths of the user features, as the prepare stage wrote them down."""
        return FeatureSizes(**read_json(self.folder / FEATURES_FILE)["user_sizes"])

    @property
    def examples_kind(self) -> str:
        """ "next_item" or "set"."""
        return str(read_json(self.folder / FEATURES_FILE)["examples_kind"])

    @property
    def repeats(self) -> bool:
        """Whether a history may name an item more than once."""
        return bool(read_json(self.folder / FEATURES_FILE)["repeats"])

    @property
    def has_validation(self) -> bool:
        """Whether any events are set apart for validation."""
        return self._events_of_split(tables.VALID) > 0

    def n_events(self, scope: Scope) -> int:
        """Events that a scope is built from."""
        return sum(map(self._events_of_split, splits_of(scope)))

    def events_of_items(self, scope: Scope) -> Ints:
        """Events per item of the vocabulary [N], in the order of item_idx."""
        columns = [tables.ITEM_IDX, tables.N_EVENTS]
        table = ds.dataset(self.items(scope), format="parquet").to_table(columns=columns)
        return np.asarray(table.sort_by(tables.ITEM_IDX).column(tables.N_EVENTS), np.int64)

    def _events_of_split(self, split: str) -> int:
        return int(read_json(self.folder / "manifest.json")["facts"]["splits"][split])

    def event_blocks(self, splits: list[str]) -> Iterator[tuple[Ints, Ints]]:
        """(user_idx [E], item_idx [E]) of the events in these splits, one Parquet file at a time.

        All events of a user lie in one file, so each block holds whole users.
        """
        wanted = pc.field(tables.SPLIT).isin(splits)
        columns = [tables.USER_IDX, tables.ITEM_IDX]
        for path in sorted(self.interactions.glob("*.parquet")):
            block = ds.dataset(path, format="parquet").to_table(columns=columns, filter=wanted)
            if block.num_rows:
                users, items = (np.asarray(block.column(name), np.int64) for name in columns)
                yield users, items

    def events_of(self, users: Ints, splits: list[str]) -> tuple[Ints, Ints]:
        """(user_idx, item_idx) of some users' events in these splits."""
        found = [(u[kept], i[kept]) for u, i in self.event_blocks(splits) if (kept := np.isin(u, users)).any()]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate([u for u, _ in found]), np.concatenate([i for _, i in found])

    def user_rows(self, users: Ints, scope: Scope) -> UserBatch:
        """Model input for some users, in ascending order of user_idx."""
        wanted = pc.field(tables.USER_IDX).isin(pa.array(users, pa.int32()))
        table = ds.dataset(self.users(scope), format="parquet").to_table(columns=USER_COLUMNS, filter=wanted)
        batch = table.sort_by(tables.USER_IDX).combine_chunks().to_batches()[0]
        return user_batch(batch)


def splits_of(scope: Scope) -> list[str]:
    """The splits whose events a scope is built from."""
    return [tables.TRAIN] if scope == "train" else list(tables.SPLITS)
