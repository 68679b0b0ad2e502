"""The nightly lists in external ids, as the model ranks or under a shop's rules; what is found is not shuffled again.

Legend: B users of a batch, K list length.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdspark import tables
from kdspark.bridge.arrow import compact_lists
from kdspark.bridge.ruled import RuledTask
from kdspark.bridge.scoring import INPUT, RankTask, Timing
from kdspark.bridge.shipping import ShippedIds, ship
from kdspark.config import ScoringConfig
from kdspark.ranking.ruled import COLD_START, MODEL
from kdspark.spark.batches import rebatch
from kdspark.spark.io import read_table
from kdspark.spark.user_files import UserPass, map_users

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def recommend(
    spark: "SparkSession",
    users: Path,
    beside: Sequence[Path],
    bundle: Path,
    item_ids: ShippedIds,
    config: ScoringConfig,
    tasks: int,
    mask_history: bool,
    rules: Sequence[str] | None = None,
) -> UserPass:
    """The lists of `scoring.rank_users` in external ids, or those that keep to rules; without any shuffle.

    Args:
        users: folder of a users' table.
        beside: what users have seen, and what rules say of them, as `user_files.write_beside` wrote it.
        item_ids: of the bundle's items.
        config: how long lists are, and what bounds memory.
        tasks: at most.
        mask_history: leave the items of histories out, too.
        rules: names of their shipped files.

    Returns:
        (user_id, items ARRAY<STRUCT<item_id, score, reason>>).
    """
    sizes = config.k, config.batch_size, config.memory_mib
    rank = RankTask(ship(spark, bundle), *sizes, Timing.of(spark), mask_history)
    user_type = read_table(spark, users).schema[tables.USER_ID].dataType.simpleString()
    schema = (
        f"{tables.USER_ID} {user_type}, {tables.ITEMS} ARRAY<STRUCT<{tables.ITEM_ID}: {item_ids.spark_type},"
        f"{tables.SCORE}: FLOAT,{tables.REASON}: STRING>>"
    )
    task = _NameTask(rank, RuledTask(rank, tuple(rules)) if rules else None, item_ids)
    return map_users(spark, users, beside, [tables.USER_ID, *INPUT], task, schema, tasks)


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
        reasons_B = np.where(known_B, MODEL, COLD_START).astype(np.uint8)
        return items_BK, scores_BK, np.broadcast_to(reasons_B[:, None], items_BK.shape)


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
