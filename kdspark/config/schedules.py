"""Schedules of lambda and of the temperature: what they are multiplied by as the training goes on.

`kind` selects the schedule; each has only its own keys. Several of one list multiply.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Union

from pydantic import Field, model_validator

from kdspark.config.base import Strict


class WarmupSchedule(Strict):
    """From `start` to 1, linearly, over the first `share` of all steps: a student that knows nothing hears more, or
    less, of the teacher."""

    kind: Literal["warmup"] = "warmup"
    start: float = Field(0.0, ge=0)
    share: float = Field(0.1, gt=0, le=1)

    @property
    def least(self) -> float:
        """The smallest factor that it ever gives."""
        return min(self.start, 1.0)

    @model_validator(mode="after")
    def _moves(self) -> "WarmupSchedule":
        if self.start == 1:
            raise ValueError("`start` 1 is where a warm-up ends, so that it would do nothing")
        return self


class CosineSchedule(Strict):
    """From `start` to `end` over the whole training, along half a cosine, as annealed distillation lets go of the
    teacher, or of its softness (Jafari et al., EACL 2021)."""

    kind: Literal["cosine"] = "cosine"
    start: float = Field(1.0, ge=0)
    end: float = Field(0.0, ge=0)

    @property
    def least(self) -> float:
        """The smallest factor that it ever gives."""
        return min(self.start, self.end)

    @model_validator(mode="after")
    def _moves(self) -> "CosineSchedule":
        if self.start == self.end:
            raise ValueError(f"`start` and `end` are both {self.start:g}, so that nothing would move")
        return self


class AgreementSchedule(Strict):
    """A factor per row: more of a teacher that is right on the row's targets, less of one that is not.

    Distillation from a teacher whose word is taken weighs each row by the teacher's probability of the truth, against
    the batch's mean (importance weighting, Furlanello et al., ICML 2018). A teacher that misses the target still
    tells what else would fit, so that every row keeps `least`.

    Args:
        least: factor of a row whose targets the teacher gives no probability; the mean over a batch stays 1.
    """

    kind: Literal["agreement"] = "agreement"
    least: float = Field(0.5, ge=0, lt=1)


class AgreementTemperature(Strict):
    """A factor of the temperature per row: softer answers of a teacher that misses the row's targets.

    Where the teacher gives the targets at least as much probability as in the mean row, the row keeps the temperature;
    the less it gives them, the less is its first choice worth against the others, as in distillation with a
    temperature for each instance (Li et al., AAAI 2023), here by a rule and not learned.

    Args:
        most: factor of a row whose targets the teacher gives no probability.
    """

    kind: Literal["agreement"] = "agreement"
    most: float = Field(2.0, gt=1)


class FeedbackSchedule(Strict):
    """A factor that every validation changes: up where the metric rose since the one before, down where it fell.

    The rule of the "bold driver" for rates (Vogl et al., Biological Cybernetics 1988).

    Args:
        up, down: what the factor is multiplied by.
        least, most: its bounds; it starts at 1.
    """

    kind: Literal["feedback"] = "feedback"
    up: float = Field(1.1, ge=1)
    down: float = Field(0.7, gt=0, le=1)
    least: float = Field(0.1, gt=0, le=1)
    most: float = Field(3.0, ge=1)

    @model_validator(mode="after")
    def _moves(self) -> "FeedbackSchedule":
        rises, falls = self.up > 1 and self.most > 1, self.down < 1 and self.least < 1
        if not (rises or falls):
            raise ValueError("`up` and `down`, or the bounds, leave the factor at 1, so that nothing would move")
        return self


LambdaSchedule = Annotated[
    Union[WarmupSchedule, CosineSchedule, AgreementSchedule, FeedbackSchedule], Field(discriminator="kind")
]
TemperatureSchedule = Annotated[
    Union[WarmupSchedule, CosineSchedule, AgreementTemperature, FeedbackSchedule], Field(discriminator="kind")
]
TimeSchedule = Union[WarmupSchedule, CosineSchedule]
"""Those whose factor depends on the share of the training alone."""


def repeated(schedules: Sequence[LambdaSchedule | TemperatureSchedule]) -> bool:
    """Whether a kind is there twice."""
    kinds = [schedule.kind for schedule in schedules]
    return len(set(kinds)) < len(kinds)
