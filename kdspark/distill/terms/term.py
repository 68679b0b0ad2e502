"""The contract of a term, and what terms are built for.

Legend: N items.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from kdspark.config import DistillConfig, LossConfig
from kdspark.distill.context import Context
from kdspark.errors import ConfigError


@dataclass(frozen=True)
class Setting:
    """What the terms of one objective have in common.

    Args:
        distill: targets and temperature of the soft labels.
        n_events: int64 [N], events per item.
        student_dim, teacher_dim: dims of the vectors; None where no term reads vectors.
        teacher_known_N: bool [N], items that the teacher knows; None where no term reads vectors.
    """

    distill: DistillConfig
    n_events: Tensor
    student_dim: int | None = None
    teacher_dim: int | None = None
    teacher_known_N: Tensor | None = None

    def vector_dims(self, kind: str) -> tuple[int, int]:
        """Dims of the student's and of the teacher's vectors.

        Args:
            kind: the loss that reads them.

        Raises:
            ConfigError: there are none.
        """
        if self.student_dim is None or self.teacher_dim is None:
            raise ConfigError(
                f"`distill.losses`: {kind} needs the teacher's vectors, which this training does not have.",
                f"Remove {kind}, or train where the teacher's item vectors are at hand.",
            )
        return self.student_dim, self.teacher_dim


class Term(nn.Module, ABC):
    """One distillation loss; its parameters, if any, are trained with the student and then forgotten.

    Attributes:
        kind: its name in the training curves.
        weight: its factor in the sum.
        ranks_catalogue: whether it looks for the student's own top items in the whole catalogue.
    """

    ranks_catalogue = False

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.kind, self.weight = config.kind, config.weight

    @abstractmethod
    def forward(self, context: Context) -> Tensor:
        """The unweighted loss, a scalar with a gradient; the mean over rows that count, 0 if none does.

        Raises:
            TrainingError: the batch lacks what the term reads.
        """
