"""Tables as the stage prepare writes them, of users and histories that are drawn, and a model without a user table.

For benchmarks in which only the cost counts.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from drawn import event_columns, event_counts, user_columns

from kdspark import tables
from kdspark.config import BagConfig
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.build import build_model
from kdspark.models.storage import save_serving
from kdspark.spark.io import read_table, uri
from kdspark.spark.user_files import laid_out

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_USERS_PER_FILE = 25_000
_UNORDERED = "drawn"


def draw_prepared(spark: "SparkSession", folder: Path, users: int, items: int) -> None:
    """Tables users_train and users_full (the same), interactions and item_ids, and what manifests say of them."""
    generator, step = np.random.default_rng(0), _USERS_PER_FILE
    for number, first in enumerate(range(0, users, step)):
        some = np.arange(first, min(first + step, users), dtype=np.int32)
        _write_users(folder, number, some, items, generator)
    for scope in ("train", "full"):
        laid_out(read_table(spark, folder / _UNORDERED), users).write.parquet(uri(folder / f"users_{scope}"))
    shutil.rmtree(folder / _UNORDERED)
    everything = np.arange(items, dtype=np.int32)
    _write(folder / "item_ids", 0, {tables.ITEM_IDX: everything, tables.ITEM_ID: everything.astype(np.int64)})
    (folder / "manifest.json").write_text(json.dumps({"rows": {"users_train": users}, "facts": {}}))


def draw_bundle(folder: Path, items: int, dim: int) -> None:
    """The serving bundle of a bag of items with fresh weights."""
    catalogue = ItemTable.without_features(np.ones(items, np.int64))
    model = build_model(BagConfig(dim=dim), 0, items, catalogue, FeatureSizes(1, 0, 0), seed=0)
    save_serving(model, folder)


def _write_users(
    folder: Path, number: int, users: npt.NDArray[np.int32], items: int, generator: np.random.Generator
) -> None:
    indptr = np.concatenate([[0], np.cumsum(event_counts(users))])
    events = indptr, generator.integers(0, items, indptr[-1], np.int32)
    _write(folder / _UNORDERED, number, user_columns(users, events))
    _write(folder / "interactions", number, event_columns(users, events))


def _write(folder: Path, number: int, columns: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"part-{number:05}.parquet")
