"""Who learns from soft labels, and whether what it is to learn has the epochs and the states that it needs.

Checks raise ValueError, as those of the sections do.
"""

from collections.abc import Iterable
from typing import NamedTuple

from kdspark.config.distill import DistillConfig
from kdspark.config.lightgcn import LightGCNConfig
from kdspark.config.models import EnsembleConfig, RecommenderConfig, TransferConfig
from kdspark.config.neural import NeuralConfig, StudentConfig
from kdspark.config.training import TrainingConfig


class Learner(NamedTuple):
    """A student or an assistant, and how it learns, each with its key in the configuration."""

    key: str
    model: StudentConfig
    distill_key: str
    distill: DistillConfig


def check_epochs(learner: Learner, trainings: Iterable[TrainingConfig]) -> None:
    """Each state of a curriculum needs an epoch, however the learner is trained."""
    curriculum = learner.distill.curriculum
    for training in trainings:
        if curriculum is not None and not curriculum.fits(training.epochs):
            raise ValueError(
                f"`{learner.distill_key}.curriculum`: {training.epochs} epochs of `{learner.key}` cannot give each of "
                f"{curriculum.snapshots} earlier states and the final one an epoch; raise them, lower `snapshots`, or "
                "change `share`"
            )


def check_own_top(learner: Learner) -> None:
    """A student's own top items are found again before training ends, and only where not all are seen anyway."""
    key, model, name, distill = learner
    if distill.refresh >= model.training.epochs:
        raise ValueError(
            f"`{name}`: `refresh` {distill.refresh} would find the student's own top only before it "
            f"has learned anything; lower it below the {model.training.epochs} of `{key}.training.epochs`"
        )
    if distill.own_top is not None and model.training.negatives == 0:
        raise ValueError(
            f"`{name}.own_top` does nothing with `{key}.training.negatives: 0`, a full softmax that has every "
            "item anyway; set `negatives` (for example 4096), or remove it"
        )


def check_states(learner: Learner, teacher: RecommenderConfig) -> None:
    """A teacher must have as many earlier states as its learner walks through."""
    wanted, key = learner.distill.snapshots, f"`{learner.distill_key}.curriculum`"
    longest = max((training.epochs for training in trainings_of(teacher)), default=None)
    if wanted and longest is None:
        raise ValueError(
            f"{key} reads earlier states of the teacher, and {teacher.kind} has only one; train a teacher by steps "
            "(a neural model, lightgcn, or an ensemble with one)"
        )
    if wanted and longest is not None and longest <= wanted:
        raise ValueError(
            f"{key} wants {wanted} states of the teacher before its last, and it trains for {longest} epochs; lower "
            "`snapshots`"
        )


def trainings_of(config: RecommenderConfig) -> list[TrainingConfig]:
    """How a recommender, or each member of an ensemble, is trained by steps; none where it is not."""
    if isinstance(config, EnsembleConfig):
        return [training for member in config.members for training in trainings_of(member)]
    if isinstance(config, NeuralConfig | LightGCNConfig | TransferConfig) and config.training is not None:
        return [config.training]
    return []
