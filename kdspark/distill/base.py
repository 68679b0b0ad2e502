"""The contract of an objective: what the trainer asks of it, whatever is minimised."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import Tensor, nn

from kdspark.config import TrainingConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.models.recommender import Recommender


class Objective(nn.Module, ABC):
    """A module from batch to loss parts, so that it can be wrapped for several processes.

    Args:
        model: what is trained.
        training: `negatives`, `label_smoothing` and the regularisers are read.

    Attributes:
        progress: share of the training that is done, 0 to 1; the trainer sets it before every step.
    """

    def __init__(self, model: Recommender, training: TrainingConfig) -> None:
        super().__init__()
        self.model, self.training_config, self.progress = model, training, 0.0

    @abstractmethod
    def forward(self, batch: ExampleBatch) -> dict[str, Tensor]:
        """{"loss", and each of its parts under its name}, unweighted but for "loss"."""

    @property
    def refresh(self) -> int:
        """Every how many epochs, from the first one on, `find_own_top` must be called; 0: never."""
        return 0

    def find_own_top(self, batches: Iterable[ExampleBatch], rows: int) -> None:
        """Find the model's highest items of the coming epochs' rows; leaves the objective in evaluation mode.

        Args:
            batches: all that this process will see, on the model's device.
            rows: how many rows these hold, at most.

        Raises:
            TrainingError: as `kdspark.distill.own_top.OwnTop.find` does.
        """
        raise NotImplementedError

    def hear(self, metric: float) -> None:
        """Take in a validation metric, the same on every process; for what goes by feedback."""

    def scheduled(self) -> dict[str, float]:
        """Name -> value in the latest step, of the settings that a schedule moves."""
        return {}

    @abstractmethod
    def digest(self) -> str:
        """What is minimised: equal objectives, equal digests."""

    @abstractmethod
    def step_bytes(self, rows: int) -> int:
        """Least memory that the scores of a step with `rows` rows take; 0 where none scores the whole catalogue."""
