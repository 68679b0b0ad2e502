"""The nightly lists in external ids, as the model ranks or under a shop's rules; what is found is not shuffled again.

Legend: B users of a batch, K list length.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdspark import tables
from kdspark.bridge.arrow import compact_lists, rebatch
from kdspark.bridge.ruled import RuledTask
from kdspark.bridge.rules import ShippedRules
from kdspark.bridge.scoring import INPUT, RankTask, Timing
from kdspark.bridge.shipping import ShippedIds, ship
from kdspark.spark.order import whole_users

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def recommend(
    users: "DataFrame",
    seen: "DataFrame | None",
    bundle: Path,
    item_ids: ShippedIds,
    k: int,
    batch_size: int,
    memory_mib: int,
    partitions: int,
    mask_history: bool,
    rules: ShippedRules | None = None,
) -> "DataFrame":
    """The lists of `scoring.rank_users` in external ids, or those that keep to rules.

    Args:
        item_ids: of the bundle's items.
        partitions: of the result; users, what they have seen, and what rules say of them are shuffled into as many, and
            nothing else is.
        mask_history: leave the items of histories out, too.

    Returns:
        (user_id, items ARRAY<STRUCT<item_id, score, reason>>).
    """
    spark = users.sparkSession
    rows = users.select(tables.USER_ID, *INPUT)
    for more in (seen, rules.by_user if rules else None):
        if more is not None:
            rows = rows.join(more, tables.USER_IDX, "left")
    timing = Timing(spark.sparkContext.accumulator(0.0), spark.sparkContext.accumulator(0.0))
    rows = whole_users(rows, partitions)
    rank = RankTask(ship(spark, bundle), k, batch_size, memory_mib, seen is not None, timing, mask_history)
    user_type, item_type = users.schema[tables.USER_ID].dataType.simpleString(), item_ids.spark_type
    schema = (
        f"{tables.USER_ID} {user_type}, {tables.ITEMS} ARRAY<STRUCT<{tables.ITEM_ID}: {item_type},"
        f"{tables.SCORE}: FLOAT,{tables.REASON}: STRING>>"
    )
    ruled = RuledTask(rank, rules.names, rules.by_user is not None) if rules else None
    return rows.mapInArrow(_NameTask(rank, ruled, item_ids), schema)


@dataclass(frozen=True)
class _NameTask:
    """Ranks, and names what was found."""

    rank: RankTask
    ruled: RuledTask | None
    item_ids: ShippedIds

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        ids = self.item_ids.load()
        for batch in rebatch(batches, self.rank.batch_size):
            lists = _named(ids, *self._lists(batch))
            yield pa.RecordBatch.from_arrays([batch.column(tables.USER_ID), lists], [tables.USER_ID, tables.ITEMS])

    def _lists(
        self, batch: pa.RecordBatch
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Items, scores and reasons [B, K], these as places in `tables.REASONS`."""
        if self.ruled is not None:
            return self.ruled.lists(batch)
        items_BK, scores_BK, known_B = self.rank.found(batch)
        reasons_B1 = (~known_B)[:, None].astype(np.uint8)
        return items_BK, scores_BK, np.broadcast_to(reasons_B1, items_BK.shape)


def _named(
    ids: pa.Array,
    items_BK: npt.NDArray[np.int32],
    scores_BK: npt.NDArray[np.float32],
    reasons_BK: npt.NDArray[np.uint8],
) -> pa.ListArray:
    kept_BK = items_BK >= 0
    items = compact_lists(items_BK, kept_BK, pa.int32())
    reasons = pa.array(tables.REASONS).take(pa.array(reasons_BK[kept_BK]))
    pairs = pa.StructArray.from_arrays(
        [ids.take(items.flatten()), pa.array(scores_BK[kept_BK]), reasons],
        [tables.ITEM_ID, tables.SCORE, tables.REASON],
    )
    return pa.ListArray.from_arrays(items.offsets, pairs)
