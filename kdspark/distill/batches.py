"""Batches of training rows as tensors, and the names of what becomes of them.

Legend: B rows, T targets, C candidates, E dims of the teacher.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdspark.models.batch import UserBatch

LOSS, HARD, SOFT, CONFIDENCE, CONSISTENCY = "loss", "hard", "soft", "confidence", "consistency"
"""Parts of a loss in training curves; further losses stand there under their kind."""

LAMBDA, TEMPERATURE = "lambda", "temperature"
"""Scheduled settings in training curves."""


@dataclass(frozen=True)
class ExampleBatch:
    """Training rows.

    Args:
        users: who, and what they had done before.
        targets: int64 [B, T] item_idx, PAD where a row has fewer.
        candidates: int64 [B, C], the teacher's top-K in order, then its sampled tail; PAD where missing.
        logits: float32 [B, C], the teacher's scores of the candidates.
        teacher_vectors: float32 [B, E], the teacher's vectors of the users; zeros where it knows nothing of one.
        keys: int64 [B], by which a row is known again in another epoch.
    """

    users: UserBatch
    targets: Tensor
    candidates: Tensor | None = None
    logits: Tensor | None = None
    teacher_vectors: Tensor | None = None
    keys: Tensor | None = None

    def __len__(self) -> int:
        return len(self.users)

    def to(self, device: torch.device | str) -> "ExampleBatch":
        """The same rows on another device."""
        given = self.candidates, self.logits, self.teacher_vectors, self.keys
        optional = [None if t is None else t.to(device) for t in given]
        return ExampleBatch(self.users.to(device), self.targets.to(device), *optional)
