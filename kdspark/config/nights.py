"""How a night builds on the ones before it."""

import math

from pydantic import Field

from kdspark.config.base import Strict
from kdspark.config.training import TrainingConfig

_ROUNDING = 1e-9  # a third of 9 epochs is 3


class WarmStartConfig(Strict):
    """Tonight's students start from those of the last published night, with new users and items added.

    The distilled student starts from the distilled one, its twin from the twin, and a refit from the refit, so that
    they stay comparable and nothing that was set apart for testing is learned. Where there is no earlier student that
    fits, they start from fresh weights and train all epochs; the log says why.

    Args:
        share: share of `student.training.epochs` that a warm student trains, on a learning-rate schedule of its own.
        rate: factor of the peak learning rates. Tonight's teacher answers anew, so that there is much to learn again:
            lower rates fell behind in three nights of MovieLens-100k.
    """

    share: float = Field(1 / 3, gt=0, le=1)
    rate: float = Field(1.0, gt=0, le=1)

    def epochs(self, training: TrainingConfig) -> int:
        """Epochs of a warm student, rounded down."""
        return math.floor(self.share * training.epochs + _ROUNDING)

    def shortened(self, training: TrainingConfig) -> TrainingConfig:
        """The training of a warm student, or of its twin, which may have had fewer epochs: one at least."""
        users = training.user_learning_rate
        changes = {
            "epochs": max(1, self.epochs(training)),
            "learning_rate": self.rate * training.learning_rate,
            "user_learning_rate": None if users is None else self.rate * users,
        }
        return training.model_copy(update=changes)
