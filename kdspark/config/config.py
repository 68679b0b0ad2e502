"""The whole night's configuration: its sections, and what they must agree on."""

from typing import Any

from pydantic import Field, model_validator

from kdspark.config.assistant import AssistantConfig
from kdspark.config.base import Strict
from kdspark.config.data import DataConfig
from kdspark.config.distill import DistillConfig
from kdspark.config.fits import check_sets, check_student, check_teacher, check_vectors
from kdspark.config.learners import Learner, check_epochs, check_own_top, check_states
from kdspark.config.losses import RRDConfig
from kdspark.config.models import ALSConfig, RecommenderConfig, Storage
from kdspark.config.neural import HOW_IT_LEARNS, MFTrainingConfig, StudentConfig, apart
from kdspark.config.nights import WarmStartConfig
from kdspark.config.privacy import PrivacyConfig
from kdspark.config.resolve import resolve_student_defaults
from kdspark.config.run import (
    BaselineConfig,
    EvaluationConfig,
    GateConfig,
    LoaderConfig,
    PublishConfig,
    ScoringConfig,
    SoftLabelsConfig,
    SparkConfig,
)
from kdspark.tables import ACCURACY


class Config(Strict):
    """One night. See conf/ for commented examples.

    Args:
        student_plain: the student's twin without distillation, where that learns best with settings of its own: the
            same model, other `training` and dropout. null: it learns with the student's, but keeps the best weights by
            validation, as hard labels alone overfit where a teacher's answers do not, and "mf" learns for fewer epochs,
            with weight decay, where its `training` does not say otherwise.
        student_copies: how many students of this configuration, of seeds of their own, answer together: the sum of
            their scores, each standardised per user, in one pass. Each learns from the same labels.
        student_storage: "int8" stores the student's large matrices, and the item vectors that are served, in about a
            quarter of the bytes. Evaluation and scoring compute with what was stored.
    """

    name: str = Field("kdspark", pattern=r"^[A-Za-z0-9_-]+$")
    seed: int = Field(42, ge=0, lt=2**31)
    data: DataConfig
    teacher: RecommenderConfig
    assistant: AssistantConfig | None = None
    student: StudentConfig
    student_plain: StudentConfig | None = None
    student_copies: int = Field(1, ge=1)
    student_storage: Storage = "float32"
    baselines: list[BaselineConfig] = [ALSConfig()]
    soft_labels: SoftLabelsConfig = SoftLabelsConfig()
    distill: DistillConfig = DistillConfig()  # type: ignore[call-arg]
    loader: LoaderConfig = LoaderConfig()
    refit: bool = False
    warm_start: WarmStartConfig | None = None
    scoring: ScoringConfig = ScoringConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    publish: PublishConfig = PublishConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    spark: SparkConfig = SparkConfig()

    @model_validator(mode="before")
    @classmethod
    def _defaults_by_student(cls, raw: Any) -> Any:
        return resolve_student_defaults(raw) if isinstance(raw, dict) else raw

    @model_validator(mode="before")
    @classmethod
    def _students_are_copies(cls, raw: Any) -> Any:
        student = raw.get("student") if isinstance(raw, dict) else None
        if isinstance(student, dict) and student.get("kind") == "ensemble":
            raise ValueError(
                "`student.kind`: a student is one trained model; for several of it that answer together set "
                "`student_copies`"
            )
        return raw

    @property
    def twin(self) -> StudentConfig:
        """The student without distillation (see `student_plain`)."""
        if self.student_plain is not None:
            return self.student_plain
        training = self.student.training
        if isinstance(training, MFTrainingConfig):
            training = training.for_hard_labels()
        return self.student.model_copy(update={"training": training.model_copy(update={"keep": "best"})})

    @property
    def first_distill(self) -> DistillConfig:
        """How the teacher's own labels are learned from: by the assistant where there is one, else by the student."""
        return self._learners[0].distill

    @property
    def _learners(self) -> list[Learner]:
        """The assistant, if there is one, and the student."""
        learners = [Learner("student", self.student, "distill", self.distill)]
        if self.assistant is not None:
            own = self.assistant.distill
            key = "distill" if own is None else "assistant.distill"
            learners.insert(0, Learner("assistant.model", self.assistant.model, key, own or self.distill))
        return learners

    @model_validator(mode="after")
    def _sections_fit(self) -> "Config":
        name, _, k = self.gate.metric.partition("@")
        if name not in ACCURACY or k not in {str(cut) for cut in self.evaluation.ks}:
            raise ValueError(f"`gate.metric`: {self.gate.metric!r} is not among {ACCURACY} at `evaluation.ks`")
        kinds = [baseline.kind for baseline in self.baselines]
        if len(set(kinds)) < len(kinds):
            raise ValueError("`baselines` holds one kind twice")
        check_teacher(self.teacher, self.data)
        check_vectors(self.teacher, self._learners[0])
        for learner in self._learners:
            check_student(learner.key, learner.model, self.data)
        return self

    @model_validator(mode="after")
    def _assistant_has_a_student(self) -> "Config":
        if self.assistant is not None and not self.distill.distils:
            raise ValueError("`assistant` would teach nobody: `distill` has `lambda: 0` and no `losses`; remove either")
        return self

    @model_validator(mode="after")
    def _twins_are_alike(self) -> "Config":
        if self.student_plain is None:
            return self
        keys = apart(self.student, self.student_plain)
        if keys:
            raise ValueError(
                f"`student_plain.{keys[0]}` differs from `student.{keys[0]}`: the twin is the same model, of which "
                f"only {', '.join(sorted(HOW_IT_LEARNS))} may differ"
            )
        check_sets(self.student_plain, "student_plain", self.data)
        return self

    @model_validator(mode="after")
    def _sets_are_scoring_inputs(self) -> "Config":
        if self.data.examples.kind == "set" and self.soft_labels.scoring_inputs:
            raise ValueError(
                "`soft_labels.scoring_inputs` adds nothing to `examples.kind: set`, whose rows are whole histories "
                "anyway; remove it"
            )
        return self

    @model_validator(mode="after")
    def _scoring_inputs_have_no_targets(self) -> "Config":
        if self.soft_labels.positions:
            return self
        for _, _, key, distill in self._learners:
            if distill.hard_weight > 0:
                raise ValueError(
                    f"`{key}.hard_weight` {distill.hard_weight:g} weighs nothing with `soft_labels.positions: false`: "
                    "scoring inputs have no targets; set it to 0"
                )
            if distill.by_targets:
                raise ValueError(
                    f"`{key}.{distill.by_targets[0]}`: agreement compares the teacher with a row's targets, which "
                    "scoring inputs do not have, and `soft_labels.positions` is false; choose another schedule"
                )
        return self

    @model_validator(mode="after")
    def _tail_is_labelled(self) -> "Config":
        for _, _, key, distill in self._learners:
            for loss in distill.losses:
                if isinstance(loss, RRDConfig) and loss.uninteresting and not self.soft_labels.tail:
                    raise ValueError(
                        f"`{key}.losses`: rrd pushes `uninteresting` items of the tail down, and `soft_labels.tail` is "
                        "0; set it (50, for example), or `uninteresting: 0`"
                    )
        return self

    @model_validator(mode="after")
    def _own_top_is_refreshed(self) -> "Config":
        for learner in self._learners:
            check_own_top(learner)
        return self

    @model_validator(mode="after")
    def _warm_start_is_shorter_and_honest(self) -> "Config":
        if self.warm_start is None:
            return self
        if self.warm_start.epochs(self.student.training) < 1:
            raise ValueError(
                f"`warm_start.share`: {self.warm_start.share:.3g} of the {self.student.training.epochs} epochs of "
                "`student.training` is not even one; raise either"
            )
        if self.data.split.kind == "leave_one_out" and self.data.split.n_test > 1:
            raise ValueError(
                "`warm_start` with `data.split.n_test` above 1: who had too few events last night had all of them in "
                "training, and some would be test events tonight; set `n_test: 1`, or split by time"
            )
        return self

    @model_validator(mode="after")
    def _schedules_have_something_to_go_by(self) -> "Config":
        masked = self.data.examples.kind == "set" and self.soft_labels.mask_history
        for _, _, key, distill in self._learners:
            if distill.hears and not self.data.split.wants_validation:
                raise ValueError(
                    f"`{key}.{distill.hears[0]}`: feedback goes by validations, and this split leaves no events for "
                    "them; give it some (`data.split`), or choose another schedule"
                )
            if distill.by_targets and masked:
                raise ValueError(
                    f"`{key}.{distill.by_targets[0]}`: agreement compares the teacher with a row's targets, which "
                    "`soft_labels.mask_history` takes out of its answers in `examples.kind: set`; choose another "
                    "schedule"
                )
        return self

    @model_validator(mode="after")
    def _curriculum_has_states(self) -> "Config":
        for learner in self._learners:
            trainings = [learner.model.training]
            if learner.key == "student" and self.warm_start is not None:
                trainings.append(self.warm_start.shortened(learner.model.training))
            check_epochs(learner, trainings)
        check_states(self._learners[0], self.teacher)
        if self.assistant is not None:
            check_states(self._learners[1], self.assistant.model)
        return self
