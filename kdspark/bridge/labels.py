"""Soft labels in Spark: the teacher's ordered top-K plus a sampled tail for every training position, with logits.

The top-K is exact and deterministic; only the tail is sampled, by a counter-based hash of (seed, user, position),
so that the labels do not depend on how Spark partitions the work.

A row is answered from all of its history, which may be longer than what is kept of it for training, and nothing that
the user had done by then is among the answers, whether in that history or before it.

Legend: B positions of a batch, N items, D dims, K top items, S tail items, C = K + S.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdspark import tables
from kdspark.bridge.arrow import list_array, user_batch
from kdspark.bridge.scoring import answer, vectors_of
from kdspark.bridge.shipping import Shipped, ship
from kdspark.config import SoftLabelsConfig
from kdspark.errors import ConfigError
from kdspark.ranking.hashing import splitmix64
from kdspark.ranking.ragged import Csr, contains, from_padded, joined, latest, pad_to
from kdspark.spark.arrow_files import write_from_workers
from kdspark.spark.batches import rebatch
from kdspark.spark.earlier import EARLIER
from kdspark.spark.lists import ragged_lists

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from kdspark.models.answers import Answers
    from kdspark.models.batch import UserBatch
    from kdspark.models.serving import Serving

_OVERSAMPLE = 2  # tail draws per slot; draws that hit the top-K, the history or an earlier draw are thrown away


def write_labels(
    examples: "DataFrame",
    folder: Path,
    bundle: Path,
    config: SoftLabelsConfig,
    teacher_id: str,
    seed: int,
    vectors: bool = False,
    history_length: int | None = None,
) -> int:
    """Write every example with the teacher's candidates and logits: the table `label_table(vectors)`.

    Candidates hold the top-K in order, then the tail; PAD (logit 0) where the catalogue has too few items. What is
    written depends on nothing but the partitions' rows and their order.

    Args:
        examples: rows of table "examples"; with a column `earlier` (`spark.earlier`), its items are masked, too.
        folder: must not exist; all executors see it under this path.
        bundle: the teacher's serving bundle.
        config: K, S, whether what the user had done is masked, and rows per batch.
        teacher_id: recorded in every row.
        seed: of the tail.
        vectors: add the teacher's vectors of the users; zeros for those it knows nothing of.
        history_length: of what is kept: the latest items that the user had done, those in `earlier` too; null for the
            histories as they are.

    Returns:
        Number of rows.

    Raises:
        ConfigError: vectors are asked for of a teacher that has none.
        StageError: the driver does not see what the executors wrote.
    """
    task = _LabelTask(ship(examples.sparkSession, bundle), config, teacher_id, seed, vectors, history_length)
    columns = [*tables.columns("examples"), *({EARLIER} & set(examples.columns))]
    return write_from_workers(examples.select(*columns), tables.ddl(label_table(vectors)), folder, task)


def label_table(vectors: bool) -> str:
    """The key in `tables.SCHEMAS` of labels with or without the teacher's vectors."""
    return "soft_labels_and_vectors" if vectors else "soft_labels"


@dataclass(frozen=True)
class _LabelTask:
    shipped: Shipped
    config: SoftLabelsConfig
    teacher_id: str
    seed: int
    vectors: bool
    history_length: int | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rebatch(batches, self.config.batch_size):
            rows_of_batch = user_batch(batch)
            users, done = rows_of_batch.pad_to(self.config.batch_size), _done(batch, rows_of_batch.history.numpy())
            positions_B = np.asarray(batch.column(tables.POSITION), np.int64)
            serving = self.shipped.load()
            answers, known_B = answer(serving, users)
            masked = pad_to(done, self.config.batch_size) if self.config.mask_history else None
            candidates_BC, logits_BC = self._label(serving, answers, users, positions_B, masked)
            rows = batch.num_rows
            columns = [
                *self._kept(batch, done),
                list_array(candidates_BC[:rows], pa.int32()),
                list_array(logits_BC[:rows], pa.float32()),
                pa.array([self.teacher_id] * rows, pa.string()),
            ]
            if self.vectors:
                columns.append(list_array((user_vectors(answers) * known_B[:, None])[:rows], pa.float32()))
            yield pa.RecordBatch.from_arrays(columns, names=tables.columns(label_table(self.vectors)))

    def _kept(self, batch: pa.RecordBatch, done: Csr) -> list[pa.Array]:
        """The columns of the examples, with the histories that are kept."""
        columns = {name: batch.column(name) for name in tables.columns("examples")}
        if self.history_length is not None:
            columns[tables.HISTORY] = list_array(latest(done, self.history_length), pa.int32())
        return list(columns.values())

    def _label(
        self,
        serving: "Serving",
        answers: "Answers",
        users: "UserBatch",
        positions_B: npt.NDArray[np.int64],
        done: Csr | None,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        allowed_N = serving.allowed_N_numpy
        top_BK, top_scores_BK = answers.top(self.config.top_k, done)
        keys_B = splitmix64(users.user_idx.numpy(), self.seed)
        keys_B[: len(positions_B)] = splitmix64(positions_B, keys_B[: len(positions_B)])
        tail_BS = sample_tail(keys_B, np.flatnonzero(allowed_N), top_BK, done, self.config.tail)
        tail_scores_BS = answers.scores_of(tail_BS)
        candidates_BC = np.concatenate([top_BK, tail_BS], axis=1).astype(np.int32)
        logits_BC = np.concatenate([top_scores_BK, tail_scores_BS], axis=1).astype(np.float32)
        logits_BC[candidates_BC == tables.PAD] = 0.0
        return candidates_BC, logits_BC


def _done(batch: pa.RecordBatch, history_BL: npt.NDArray[np.int64]) -> Csr:
    """What the users of a batch had done by then, oldest first."""
    done = from_padded(history_BL)
    return joined(ragged_lists(batch.column(EARLIER)), done) if EARLIER in batch.schema.names else done


def user_vectors(answers: "Answers") -> npt.NDArray[np.float32]:
    """The vectors [B, D] behind the answers.

    Raises:
        ConfigError: they come from no vectors.
    """
    without = ConfigError(
        "`distill.losses` read the teacher's vectors, which this teacher does not have.",
        "Train a teacher with factors (a neural model, als, or an ensemble of these), or remove the losses.",
    )
    return vectors_of(answers, without)


def sample_tail(
    keys_B: npt.NDArray[np.uint64],
    allowed: npt.NDArray[np.int64],
    excluded_BX: npt.NDArray[np.integer[Any]],
    done: Csr | None,
    size: int,
) -> npt.NDArray[np.int32]:
    """Up to `size` distinct allowed items per row, uniform over those not excluded; PAD where draws ran out.

    Args:
        keys_B: one hash key per row; equal keys draw equal items.
        allowed: item_idx to draw from.
        excluded_BX: a few items that a row must not draw; PAD entries are ignored.
        done: any number of further ones.
    """
    rows = len(keys_B)
    if size == 0 or len(allowed) == 0:
        return np.full((rows, size), tables.PAD, np.int32)
    draws = max(size * _OVERSAMPLE, size + 16)
    counter = np.arange(draws, dtype=np.int64)[None, :]
    hashed = splitmix64(counter, keys_B[:, None])
    picks = allowed[(hashed % np.uint64(len(allowed))).astype(np.int64)]
    everything = np.concatenate([excluded_BX.astype(np.int64), picks], axis=1)
    order = np.argsort(everything, axis=1, kind="stable")
    ordered = np.take_along_axis(everything, order, axis=1)
    repeated = np.zeros_like(ordered, dtype=bool)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    dropped = np.zeros_like(repeated)
    np.put_along_axis(dropped, order, repeated, axis=1)  # stable sort: excluded and earlier draws come first
    kept = ~dropped[:, excluded_BX.shape[1] :]
    if done is not None:
        kept &= ~contains(done, picks)
    slot = np.where(kept, np.cumsum(kept, axis=1) - 1, size)
    tail = np.full((rows, size + 1), tables.PAD, np.int64)
    inside = slot < size
    tail[np.nonzero(inside)[0], slot[inside]] = picks[inside]
    return tail[:, :size].astype(np.int32)
