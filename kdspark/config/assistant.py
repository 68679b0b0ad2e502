"""A model of middle size between teacher and student."""

from pydantic import model_validator
from typing_extensions import Self

from kdspark.config.base import Strict
from kdspark.config.distill import DistillConfig
from kdspark.config.neural import StudentConfig


class AssistantConfig(Strict):
    """A teacher assistant (Mirzadeh et al., AAAI 2020), for a student too small to follow its teacher.

    It learns from the teacher's soft labels as a student does, then answers the same positions itself, and the student
    learns from its answers alone: `distill`'s losses read the assistant's vectors then. It trains from fresh weights
    every night; `warm_start` is the students'.

    Args:
        model: between teacher and student in size.
        distill: how it learns from the teacher; null: as the student learns from it.
    """

    model: StudentConfig
    distill: DistillConfig | None = None

    @model_validator(mode="after")
    def _learns_from_the_teacher(self) -> Self:
        if self.distill is not None and not self.distill.distils:
            raise ValueError("`distill` has `lambda: 0` and no `losses`: the assistant would learn nothing to pass on")
        return self
