"""Top-k lists for users in Spark: encode a batch of users, one exact top-k pass over the catalogue.

Users that the model knows nothing of (no id it was trained on, no history, no features) get the most popular items
and say so in `reason`. Used for the nightly lists and for evaluation, so both measure the same code.

Legend: B users of a batch, N items, D dims, K list length.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdspark import tables
from kdspark.bridge.arrow import compact_lists, user_batch
from kdspark.bridge.shipping import Shipped, ship
from kdspark.errors import KdsparkError
from kdspark.ranking.ragged import Csr, from_padded, joined, pad_to, select_rows
from kdspark.ranking.topk import top_k
from kdspark.spark.batches import rebatch
from kdspark.spark.lists import ragged_lists

if TYPE_CHECKING:
    from pyspark.accumulators import Accumulator
    from pyspark.sql import DataFrame, SparkSession

    from kdspark.models.answers import Answers
    from kdspark.models.batch import UserBatch
    from kdspark.models.serving import Serving

Encoded = tuple["Serving", "UserBatch", "Answers", npt.NDArray[np.bool_]]
Found = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Timing:
    """Task seconds spent in the user encoder and in the top-k kernel, summed over all tasks."""

    encode: "Accumulator[float]"
    score: "Accumulator[float]"

    @classmethod
    def of(cls, spark: "SparkSession") -> "Timing":
        """Of nothing yet."""
        return cls(spark.sparkContext.accumulator(0.0), spark.sparkContext.accumulator(0.0))


def rank_users(
    users: "DataFrame",
    seen: "DataFrame | None",
    bundle: Path,
    k: int,
    batch_size: int,
    memory_mib: int,
) -> tuple["DataFrame", Timing]:
    """The k best items of every user, best first.

    Args:
        users: rows of table "users" (or a selection of them); further columns are dropped.
        seen: (user_idx, seen ARRAY<INT>), items to leave out; users without a row have none.
        bundle: folder of a serving bundle.
        k: list length; a list is shorter only where fewer items remain.
        batch_size: users encoded at a time; batches are padded to it, so that a user's scores do not depend on
            which others share the batch.
        memory_mib: bound of the kernel's score tiles per task.

    Returns:
        A lazy frame with schema `tables.SCHEMAS["ranked"]`, and timings that are filled in as it is computed.
    """
    spark = users.sparkSession
    shipped, timing = ship(spark, bundle), Timing.of(spark)
    rows = users.select(*INPUT)
    if seen is not None:
        rows = rows.join(seen, tables.USER_IDX, "left")
    task = RankTask(shipped, k, batch_size, memory_mib, timing)
    return rows.mapInArrow(task, tables.ddl("ranked")), timing


INPUT = [tables.USER_IDX, tables.HISTORY, tables.CODES, tables.NUMBERS, tables.VECTOR]


@dataclass(frozen=True)
class RankTask:
    """What runs in a worker; small to ship: the model comes by file."""

    shipped: Shipped
    k: int
    batch_size: int
    memory_mib: int
    timing: Timing
    mask_history: bool = False

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rebatch(batches, self.batch_size):
            yield self.of(batch)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of table "ranked", of at most `batch_size` users."""
        return _ranked(batch, *self.found(batch))

    def found(self, batch: pa.RecordBatch) -> Found:
        """Items and scores [B, K] of at most `batch_size` users, and who is known to the model [B]."""
        serving, users, answers, known_B = self.encoded(batch)
        encoded, seen = perf_counter(), self.seen(batch, users)
        items_BK, scores_BK = answers.top(self.k, seen, self.memory_mib)
        if not known_B.all():
            strangers = np.flatnonzero(~known_B)
            rest = None if seen is None else select_rows(seen, strangers)
            popular = _popular(serving, len(strangers), rest, self.k, self.memory_mib)
            items_BK[strangers], scores_BK[strangers] = popular
        self.timing.score.add(perf_counter() - encoded)
        rows = batch.num_rows
        return items_BK[:rows], scores_BK[:rows], known_B[:rows]

    def encoded(self, batch: pa.RecordBatch) -> Encoded:
        """The bundle, the users padded to `batch_size`, the answers to them, and who is known to the model."""
        serving, started = self.shipped.load(), perf_counter()
        users = user_batch(batch).pad_to(self.batch_size)
        answers, known_B = answer(serving, users)
        self.timing.encode.add(perf_counter() - started)
        return serving, users, answers, known_B

    def seen(self, batch: pa.RecordBatch, users: "UserBatch") -> Csr | None:
        """What is left out for each user of the padded batch."""
        with_seen = tables.SEEN in batch.schema.names
        listed = pad_to(ragged_lists(batch.column(tables.SEEN)), self.batch_size) if with_seen else None
        if not self.mask_history:
            return listed
        in_history = from_padded(users.history.numpy())
        return in_history if listed is None else joined(in_history, listed)


def answer(serving: "Serving", users: "UserBatch") -> tuple["Answers", npt.NDArray[np.bool_]]:
    """The model's answers, and per user whether it knows anything of them [B]."""
    import torch

    with torch.inference_mode():
        return serving.answer(users), serving.encodable(users).cpu().numpy()


def _popular(
    serving: "Serving", rows: int, seen: Csr | None, k: int, memory_mib: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Popularity through the same kernel: one dimension, every user 1, every item its share of events."""
    return top_k(np.ones((rows, 1), np.float32), serving.popular, k, seen, memory_mib=memory_mib)


def vectors_of(answers: "Answers", without: KdsparkError) -> npt.NDArray[np.float32]:
    """The vectors [B, D] behind the answers; raises the error where they come from none."""
    from kdspark.models.answers import VectorAnswers

    if not isinstance(answers, VectorAnswers):
        raise without
    return answers.users_BD


def _ranked(
    batch: pa.RecordBatch,
    items_BK: npt.NDArray[np.int32],
    scores_BK: npt.NDArray[np.float32],
    known_B: npt.NDArray[np.bool_],
) -> pa.RecordBatch:
    kept_BK = items_BK >= 0
    reasons = np.where(known_B, tables.REASON_MODEL, tables.REASON_COLD_START)
    return pa.RecordBatch.from_arrays(
        [
            batch.column(tables.USER_IDX),
            compact_lists(items_BK, kept_BK, pa.int32()),
            compact_lists(scores_BK, kept_BK, pa.float32()),
            pa.array(reasons.tolist(), pa.string()),
        ],
        names=tables.columns("ranked"),
    )
