"""Training rows from their tables: which columns are read, and the batches that they become."""

from collections.abc import Iterator
from pathlib import Path

import torch

from kdspark import tables
from kdspark.config import DistillConfig, TrainingConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.curriculum import CurriculumFeed
from kdspark.distill.feed import STALL_S, ParquetFeed
from kdspark.distill.ranks import rank, world
from kdspark.errors import TrainingError
from kdspark.models.batch import FeatureSizes, UserBatch
from kdspark.workspace import read_json

Feed = ParquetFeed | CurriculumFeed


def user_columns(sizes: FeatureSizes) -> list[str]:
    """The columns that hold anything: features that a log does not have are empty lists, not worth reading."""
    optional = {tables.CODES: sizes.n_codes > 1, tables.NUMBERS: sizes.n_numbers, tables.VECTOR: sizes.n_vector}
    return [tables.USER_IDX, tables.HISTORY, *(name for name, present in optional.items() if present)]


def label_columns(loss: DistillConfig) -> list[str]:
    """The columns of the soft labels that any part of the loss reads."""
    columns = [tables.CANDIDATES, tables.LOGITS] if loss.reads_candidates else []
    columns += [tables.TEACHER_VECTOR] if loss.reads_user_vectors else []
    return columns + ([tables.POSITION] if loss.refresh else [])


def feed_of(
    folders: list[Path],
    columns: list[str],
    loss: DistillConfig,
    training: TrainingConfig,
    seed: int,
    stall_s: float = STALL_S,
) -> Feed:
    """This rank's part of the rows, in an order of each epoch's own.

    Args:
        folders: the same rows with the answers of the teacher's states, the final one's last.
        stall_s: seconds without rows after which an epoch fails.

    Raises:
        TrainingError: a folder's manifest does not say how many rows there are.
    """
    feeds = [_feed(folder, columns, training, seed, stall_s) for folder in folders]
    curriculum = loss.curriculum
    if curriculum is None:
        return feeds[0]
    return CurriculumFeed(feeds, lambda epoch: curriculum.state_at(epoch, training.epochs))


def _feed(folder: Path, columns: list[str], training: TrainingConfig, seed: int, stall_s: float) -> ParquetFeed:
    try:
        expected = int(read_json(folder.parent / "manifest.json")["rows"][folder.name])
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{folder}: its manifest gives no row count.", "Run the stage before again.") from error
    size = training.rows_per_step(expected // world())
    return ParquetFeed(folder, columns, size, seed, expected, rank(), world(), timeout_s=stall_s)


def batches(feed: Feed, epoch: int) -> Iterator[ExampleBatch]:
    """An epoch's batches; columns that were not read are empty, or None."""
    for columns in feed.epoch(epoch):
        rows = len(columns[tables.USER_IDX])
        no_ids, no_numbers = torch.empty(rows, 0, dtype=torch.int64), torch.empty(rows, 0)
        users = UserBatch(
            user_idx=columns[tables.USER_IDX],
            history=columns[tables.HISTORY],
            codes=columns.get(tables.CODES, no_ids),
            numbers=columns.get(tables.NUMBERS, no_numbers),
            vector=columns.get(tables.VECTOR, no_numbers),
        )
        targets = columns.get(tables.TARGETS, no_ids)
        keys = users.user_idx << 32 | columns[tables.POSITION] if tables.POSITION in columns else None
        read = columns.get
        yield ExampleBatch(
            users, targets, read(tables.CANDIDATES), read(tables.LOGITS), read(tables.TEACHER_VECTOR), keys
        )
