"""Evaluation in Spark: metrics per user on the full catalogue, item exposure, slices of users.

The definitions are in `kdspark.ranking.metrics` and `kdspark.ranking.beyond`; this module brings lists and truth
together, user by user, and keeps every result distributed. Means and intervals: `kdspark.spark.bootstrap`.

Legend: B users of a batch, K list length.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.ranking.beyond import Catalogue, list_metrics
from kdspark.ranking.metrics import NAMES, PerUser, user_metrics
from kdspark.ranking.ragged import Csr, earliest
from kdspark.spark.files import ship_file
from kdspark.spark.lists import ragged_lists

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

HEAD, TAIL = "head", "tail"
SLICE = "slice"
ALL_USERS = "all"
COUNT = "count"


def per_user_metrics(
    ranked: "DataFrame", truth: "DataFrame", ks: Sequence[int], catalogue: Path | None = None
) -> "DataFrame":
    """One row of metrics per user with truth; a user without a list scores 0.

    Args:
        ranked: rows of table "ranked", at most one per user.
        truth: rows of table "truth", one per user. Users with an empty truth are left out.
        ks: cut-offs.
        catalogue: file written by `kdspark.ranking.beyond.Catalogue.save`, covering every item_idx; adds novelty,
            diversity, popularity, and accuracy with the truth cut down to head or tail items ("head:recall@10").
            It travels as a file and is loaded once per worker.

    Returns:
        A lazy frame: user_idx, then one DOUBLE column per metric, null where undefined for that user.
    """
    lists = ranked.select(tables.USER_IDX, tables.ITEMS)
    rows = truth.where(F.size(tables.TRUTH) > 0).join(lists, tables.USER_IDX, "left")
    name = ship_file(truth.sparkSession, catalogue) if catalogue is not None else None
    names = list(_metrics(_empty_lists(), _empty_truth(), ks, Catalogue.load(catalogue) if catalogue else None))
    schema = ", ".join([f"{tables.USER_IDX} INT", *(f"`{metric}` DOUBLE" for metric in names)])
    return rows.mapInArrow(_Metrics(tuple(ks), name), schema)


def item_exposure(ranked: "DataFrame", k: int) -> "DataFrame":
    """(item_idx, count): in how many lists each item is among the first k; items in none have no row."""
    shown = ranked.select(F.explode(F.slice(tables.ITEMS, 1, k)).alias(tables.ITEM_IDX))
    return shown.groupBy(tables.ITEM_IDX).agg(F.count("*").alias(COUNT))


def activity_labels(bounds: Sequence[int]) -> list[str]:
    """Names of the activity slices, least active first: bounds [20, 100] give "1-20", "21-100", "over 100"."""
    lows = [1, *(bound + 1 for bound in bounds)]
    return [*(f"{low}-{high}" for low, high in zip(lows, bounds, strict=False)), f"over {bounds[-1] if bounds else 0}"]


def with_activity(per_user: "DataFrame", users: "DataFrame", bounds: Sequence[int]) -> "DataFrame":
    """Every row twice, with a column `slice`: once for all users, once for the user's activity.

    Args:
        per_user: rows by user_idx; further columns are kept.
        users: user_idx and n_events, the user's training events (table "users" of scope train).
        bounds: largest n_events of each slice but the last, ascending.

    Returns:
        Rows with `slice` = `ALL_USERS` or one of `activity_labels`, for `summarise_by(..., by=[..., SLICE])`. A user
        without training events counts as least active.
    """
    events = F.coalesce(F.col(tables.N_EVENTS), F.lit(0))
    rows = per_user.join(users.select(tables.USER_IDX, tables.N_EVENTS), tables.USER_IDX, "left")
    both = F.array(F.lit(ALL_USERS), _activity(events, bounds))
    return rows.withColumn(SLICE, F.explode(both)).drop(tables.N_EVENTS)


def _activity(events: "Column", bounds: Sequence[int]) -> "Column":
    labels = activity_labels(bounds)
    label = F.lit(labels[-1])
    for bound, name in zip(reversed(bounds), reversed(labels[:-1]), strict=True):
        label = F.when(events <= bound, name).otherwise(label)
    return label


@dataclass(frozen=True)
class _Metrics:
    """What runs in a worker."""

    ks: tuple[int, ...]
    catalogue: str | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        catalogue = _load(self.catalogue) if self.catalogue is not None else None
        for batch in batches:
            items_BK = earliest(ragged_lists(batch.column(tables.ITEMS)), max(self.ks))
            metrics = _metrics(items_BK, ragged_lists(batch.column(tables.TRUTH)), self.ks, catalogue)
            columns = [pa.array(values, pa.float64(), from_pandas=True) for values in metrics.values()]  # NaN: null
            users = batch.column(tables.USER_IDX)
            yield pa.RecordBatch.from_arrays([users, *columns], names=[tables.USER_IDX, *metrics])


def _metrics(items_BK: npt.NDArray[np.int64], truth: Csr, ks: Sequence[int], catalogue: Catalogue | None) -> PerUser:
    metrics = user_metrics(items_BK, truth, ks)
    if catalogue is not None:
        metrics.update(list_metrics(items_BK, catalogue, ks))
        for label, mask_N in ((HEAD, catalogue.head_N), (TAIL, ~catalogue.head_N)):
            metrics.update(_on_part(items_BK, truth, ks, mask_N, label))
    return metrics


def _on_part(
    items_BK: npt.NDArray[np.int64], truth: Csr, ks: Sequence[int], mask_N: npt.NDArray[np.bool_], label: str
) -> PerUser:
    """Accuracy where only the masked items of the truth count; NaN for users without any."""
    indptr, indices = truth
    kept = mask_N[indices]
    part = np.concatenate([[0], np.cumsum(kept)])[indptr], indices[kept]
    some_B = np.diff(part[0]) > 0
    found = user_metrics(items_BK, part, ks)
    return {f"{label}:{name}": np.where(some_B, values, np.nan) for name, values in found.items()}


def slice_metric_names(ks: Sequence[int]) -> dict[str, list[str]]:
    """{"head": ["head:recall@10", ...], "tail": ...}: the columns of the popularity slices."""
    return {label: [f"{label}:{name}@{k}" for k in ks for name in NAMES] for label in (HEAD, TAIL)}


def _empty_lists() -> npt.NDArray[np.int64]:
    return np.empty((0, 1), np.int64)


def _empty_truth() -> Csr:
    return np.zeros(1, np.int64), np.empty(0, np.int64)


@functools.lru_cache(maxsize=2)
def _load(name: str) -> Catalogue:
    return Catalogue.load(Path(SparkFiles.get(name)))
