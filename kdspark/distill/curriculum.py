"""Several tables with equal numbers of rows, one per epoch: soft labels of a teacher's states, the easy ones first."""

from collections.abc import Callable, Generator, Sequence

import torch

from kdspark.distill.feed import ParquetFeed
from kdspark.errors import TrainingError


class CurriculumFeed:
    """Each epoch from the table that a rule names; it depends on the epoch alone, and so a resumed training repeats it.

    Args:
        feeds: of equal batch size, seed and processes.
        state_at: epoch -> which of them.

    Attributes:
        rows: rows of each table.
        batch_size: rows per batch and process.
        steps: batches per epoch, the same for every table: row groups, and so the processes' shards, may differ.

    Raises:
        TrainingError: the tables differ in their number of rows.
    """

    def __init__(self, feeds: Sequence[ParquetFeed], state_at: Callable[[int], int]) -> None:
        self._feeds, self._state_at = list(feeds), state_at
        self.rows, self.batch_size = feeds[0].rows, feeds[0].batch_size
        self.steps = max(feed.steps for feed in feeds)
        for feed in feeds:
            if feed.rows != self.rows:
                raise TrainingError(
                    f"{feed.path} has {feed.rows:,} rows, {feeds[0].path} has {self.rows:,}.",
                    "Delete the stage's folder and run it again: a teacher's states answer the same positions.",
                )

    def epoch(self, number: int) -> Generator[dict[str, torch.Tensor], None, None]:
        """Batches of one epoch, as `ParquetFeed.epoch` gives them."""
        return self._feeds[self._state_at(number)].epoch(number, self.steps)
