"""How a model that learns by steps is trained."""

from typing import ClassVar, Literal

from pydantic import Field

from kdspark.config.base import Strict
from kdspark.config.regularisers import ConsistencyConfig

_STEPS_PER_EPOCH = 16
_SMALLEST_BATCH = 32


class TrainingConfig(Strict):
    """Optimisation of one neural model.

    Args:
        epochs: passes over the training rows, at most.
        batch_size: rows per step and process; null for a sixteenth of the process's rows, at least 32 and at most
            `largest_batch`: a small log, too, takes enough steps to learn from.
        learning_rate: peak rate of Adam; linear warm-up over `warmup` of all steps, then cosine decay to zero.
        user_learning_rate: peak rate of free user vectors ("mf" alone); None for `learning_rate`. A user's vector moves
            only in the steps that have rows of it, once an epoch in a log of sets, so it wants a higher rate.
        negatives: 0 for a full softmax over the catalogue, else the number of uniformly sampled items shared by a
            batch (sampled softmax with log-frequency correction of the sampling).
        label_smoothing: share of the hard target spread over the candidates.
        confidence_penalty: weight of minus the entropy of the model's output (Pereyra et al., 2017): a positive one
            keeps it unsure, which makes a teacher's labels softer, a negative one makes it surer.
        consistency: regularise by two augmented views of each history; null for none.
        keep: "best" keeps the weights of the best validation metric and stops early; "last" trains every epoch and
            keeps the last weights, which the decay to a rate of zero has averaged: better where the validation metric
            is noisier than the gain of stopping.
        patience: evaluations without a better validation metric before training stops.
        eval_every: epochs between two validations (and checkpoints).
        num_processes: 1 trains in the driver's process; more go through Spark's TorchDistributor.
        precision: "bf16" trains under autocast.
    """

    epochs: int = Field(20, ge=1)
    batch_size: int | None = Field(None, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    user_learning_rate: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    clip_norm: float = Field(5.0, gt=0)
    negatives: int = Field(0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    confidence_penalty: float = 0.0
    consistency: ConsistencyConfig | None = None
    keep: Literal["best", "last"] = "best"
    patience: int = Field(5, ge=1)
    eval_every: int = Field(1, ge=1)
    valid_k: int = Field(10, ge=1)
    valid_users: int = Field(10_000, ge=1)
    num_processes: int = Field(1, ge=1)
    precision: Literal["float32", "bf16"] = "float32"
    largest_batch: ClassVar[int] = 512

    def rows_per_step(self, rows: int) -> int:
        """`batch_size`, or where that is null what suits so many rows per process and epoch."""
        if self.batch_size is not None:
            return self.batch_size
        return min(self.largest_batch, max(_SMALLEST_BATCH, rows // _STEPS_PER_EPOCH))
