"""How the student learns: hard labels, soft labels, and any weighted sum of further distillation losses."""

from collections.abc import Sequence
from typing import Literal, TypeVar

from pydantic import Field, model_validator

from kdspark.config.base import Strict
from kdspark.config.curriculum import CurriculumConfig
from kdspark.config.losses import LossConfig, OwnTopLossConfig
from kdspark.config.schedules import (
    AgreementSchedule,
    AgreementTemperature,
    CosineSchedule,
    FeedbackSchedule,
    LambdaSchedule,
    TemperatureSchedule,
    WarmupSchedule,
    repeated,
)

_Schedule = TypeVar("_Schedule")


class OwnTopConfig(Strict):
    """The student's own top items within a sampled softmax, where they weigh the most.

    Args:
        size: how many of a row's highest items of the catalogue, beside its candidates.
        refresh: every so many epochs they are found in the whole catalogue, exactly and tile by tile, and kept until
            the next time. Checkpoints are written as often, as what was found is not in them.
    """

    size: int = Field(200, ge=1)
    refresh: int = Field(10, ge=1)

    @property
    def kept(self) -> int:
        """How many of a row's items `refresh` finds."""
        return self.size


class DistillConfig(Strict):
    """loss = hard_weight * CE(hard) + lambda * T^2 * KL(teacher || student) + sum of weight * loss over `losses`.

    With lambda 0 and no `losses` nothing is distilled. The KL to the teacher's first few ranks against the whole
    catalogue did best on all logs measured, with a decay of 5 to 7.

    Args:
        lambda_: weight of the soft part (YAML key `lambda`).
        hard_weight: weight of the hard labels; where it is not given, 0 for a student "mf" with a soft part.
        targets: "score": softmax(logits / T); the others take the teacher's ordered top-K, rank 0 the best, and are
            zero on the tail, which teaches by being pushed down: "rank": p proportional to exp(-rank / rank_decay);
            "power": p proportional to 1 / (rank + rank_shift).
        standardise: z-scores of the logits per row before the temperature ("score" only).
        temperature: T, also divides the student's scores in the soft part.
        candidates: softmax of the soft part over the "catalogue" (full softmax, or estimated where
            `training.negatives` are drawn), or over the row's "candidates" alone (Hinton et al., 2015).
        own_top: the student's own top items are in the softmax over the catalogue exactly, and only the rest is
            estimated from `training.negatives` drawn items; null: all but the candidates is.
        losses: further losses, each kind once.
        lambda_schedule: what lambda is multiplied by as the training goes on; each kind once, several multiply.
        curriculum: learn from earlier states of the teacher first; null for the final one alone.
        temperature_schedule: the same for the temperature, and so for its square before the KL.
    """

    lambda_: float = Field(1.0, ge=0, alias="lambda")
    hard_weight: float = Field(1.0, ge=0)
    temperature: float = Field(1.0, gt=0)
    targets: Literal["score", "rank", "power"] = "rank"
    rank_decay: float = Field(5.0, gt=0)
    rank_shift: float = Field(5.0, gt=0)
    standardise: bool = False
    candidates: Literal["candidates", "catalogue"] = "catalogue"
    own_top: OwnTopConfig | None = None
    losses: list[LossConfig] = []
    lambda_schedule: list[LambdaSchedule] = []
    temperature_schedule: list[TemperatureSchedule] = []
    curriculum: CurriculumConfig | None = None

    @property
    def distils(self) -> bool:
        """Whether anything comes from a teacher."""
        return self.lambda_ > 0 or bool(self.losses)

    @property
    def reads_candidates(self) -> bool:
        """Whether the soft labels' candidates and logits are needed."""
        return self.lambda_ > 0 or any("candidates" in loss.reads for loss in self.losses)

    @property
    def reads_vectors(self) -> bool:
        """Whether the teacher's vectors are needed, of users or of items."""
        return bool(self.vector_losses)

    @property
    def reads_user_vectors(self) -> bool:
        """Whether the soft labels must hold the teacher's vectors of the users."""
        return any("users" in loss.reads for loss in self.losses)

    @property
    def vector_losses(self) -> list[str]:
        """Kinds of the losses that read the teacher's vectors."""
        return [loss.kind for loss in self.losses if loss.reads & {"users", "items"}]

    @property
    def refresh(self) -> int:
        """Every how many epochs the student's own top items are found for the losses that keep them; 0: never."""
        return max((one.refresh for one in self._keeping), default=0)

    @property
    def kept(self) -> int:
        """How many of a row's top items are found then."""
        return max((one.kept for one in self._keeping), default=0)

    @property
    def _keeping(self) -> list[OwnTopLossConfig | OwnTopConfig]:
        losses = [loss for loss in self.losses if isinstance(loss, OwnTopLossConfig) and loss.refresh]
        return [*losses, *([self.own_top] if self.own_top is not None else [])]

    @model_validator(mode="after")
    def _one_refresh(self) -> "DistillConfig":
        if any(one.refresh != self.refresh for one in self._keeping):
            raise ValueError(
                "`refresh` differs between `losses` and `own_top`, which share what it finds; give all the same"
            )
        return self

    @model_validator(mode="after")
    def _own_top_of_a_catalogue(self) -> "DistillConfig":
        if self.lambda_ == 0:
            self.refuse_idle(["own_top"], "with `lambda: 0`")
        if self.candidates != "catalogue":
            self.refuse_idle(["own_top"], "with `candidates: candidates`, a softmax over these alone")
        return self

    @property
    def agreement(self) -> AgreementSchedule | None:
        """The schedule of lambda by row, if there is one."""
        return _of_kind(self.lambda_schedule, AgreementSchedule)

    @property
    def agreement_temperature(self) -> AgreementTemperature | None:
        """The schedule of the temperature by row, if there is one."""
        return _of_kind(self.temperature_schedule, AgreementTemperature)

    @property
    def by_targets(self) -> list[str]:
        """Which of the schedules go by a row's targets."""
        return _given(self.agreement, self.agreement_temperature)

    @property
    def feedback(self) -> FeedbackSchedule | None:
        """The schedule of lambda that every validation changes, if there is one."""
        return _of_kind(self.lambda_schedule, FeedbackSchedule)

    @property
    def feedback_temperature(self) -> FeedbackSchedule | None:
        """The same of the temperature."""
        return _of_kind(self.temperature_schedule, FeedbackSchedule)

    @property
    def hears(self) -> list[str]:
        """Which of the schedules every validation changes."""
        return _given(self.feedback, self.feedback_temperature)

    @model_validator(mode="after")
    def _something_to_learn(self) -> "DistillConfig":
        if not self.distils and self.hard_weight == 0:
            raise ValueError("`lambda` and `hard_weight` are both 0, without `losses`: nothing to learn from")
        return self

    @model_validator(mode="after")
    def _curriculum_of_answers(self) -> "DistillConfig":
        if not self.distils:
            self.refuse_idle(["curriculum"], "with `lambda: 0` and no `losses`")
        if self.curriculum is not None and self.reads_vectors:
            raise ValueError(
                f"`curriculum` changes the teacher's answers as the training goes on, and "
                f"{' and '.join(self.vector_losses)} of `losses` would read the final teacher's vectors all the while; "
                "remove either"
            )
        return self

    @property
    def snapshots(self) -> int:
        """How many earlier states of the teacher are learned from."""
        return self.curriculum.snapshots if self.curriculum is not None else 0

    @model_validator(mode="after")
    def _each_kind_once(self) -> "DistillConfig":
        kinds = [loss.kind for loss in self.losses]
        if len(set(kinds)) < len(kinds):
            raise ValueError("`losses` holds one kind twice")
        return self

    @model_validator(mode="after")
    def _keys_of_the_targets(self) -> "DistillConfig":
        own = {"score": "standardise", "rank": "rank_decay", "power": "rank_shift"}
        idle = [key for targets, key in own.items() if targets != self.targets]
        self.refuse_idle(idle, f"with `targets: {self.targets}`")
        return self

    @model_validator(mode="after")
    def _something_to_schedule(self) -> "DistillConfig":
        if self.lambda_ == 0:
            self.refuse_idle(["lambda_schedule"], "with `lambda: 0`")
        if self.lambda_ == 0 and not any(loss.kind == "rce" for loss in self.losses):
            self.refuse_idle(["temperature_schedule"], "with `lambda: 0` and no loss that reads the temperature (rce)")
        for name, schedules in (
            ("lambda_schedule", self.lambda_schedule),
            ("temperature_schedule", self.temperature_schedule),
        ):
            if repeated(schedules):
                raise ValueError(f"`{name}` holds one kind twice")
        for schedule in self.temperature_schedule:
            if isinstance(schedule, WarmupSchedule | CosineSchedule) and schedule.least == 0:
                raise ValueError(
                    f"`temperature_schedule`: {schedule.kind} reaches 0, and nothing can be divided by that; set its "
                    f"`{'start' if schedule.start == 0 else 'end'}` above 0"
                )
        return self


def _of_kind(schedules: Sequence[object], kind: type[_Schedule]) -> _Schedule | None:
    return next((one for one in schedules if isinstance(one, kind)), None)


def _given(of_lambda: object, of_temperature: object) -> list[str]:
    """The keys of those schedules that there are."""
    found = {"lambda_schedule": of_lambda, "temperature_schedule": of_temperature}
    return [name for name, schedule in found.items() if schedule is not None]
