"""What a model needs of the data, and a loss of its teacher.

Checks raise ValueError, as those of the sections do.
"""

from kdspark.config.data import DataConfig
from kdspark.config.item_item import ItemItemConfig
from kdspark.config.learners import Learner
from kdspark.config.models import EnsembleConfig, RecommenderConfig
from kdspark.config.neural import NeuralConfig, SequenceConfig, StudentConfig


def check_student(key: str, model: StudentConfig, data: DataConfig) -> None:
    """A student, or an assistant, learns from examples and features that there are."""
    window, examples = getattr(model, "history_length", 0), data.examples.history_length
    if window > examples:
        raise ValueError(
            f"`{key}.history_length` {window} is longer than the {examples} of `data.examples.history_length`, so its "
            "older part would never be trained"
        )
    check_sets(model, key, data)
    _check_features(model, key, data)


def check_sets(model: RecommenderConfig, key: str, data: DataConfig) -> None:
    """In a "set" example the targets are the history: a model that reads all of it would learn to copy."""
    if data.examples.kind == "set" and getattr(model, "input_dropout", 1.0) == 0.0:
        raise ValueError(
            f"`examples.kind: set` shows a model its own targets; set `{key}.input_dropout` (0.5, for example), "
            "so that it learns to find them from the rest"
        )


def check_vectors(teacher: RecommenderConfig, learner: Learner) -> None:
    """Losses on vectors need a teacher that has some. A pre-trained teacher is asked when its folder is read."""
    for member in teacher.members if isinstance(teacher, EnsembleConfig) else []:
        check_vectors(member, learner)
    if learner.distill.reads_vectors and isinstance(teacher, ItemItemConfig):
        losses = " and ".join(learner.distill.vector_losses)
        raise ValueError(
            f"`{learner.distill_key}.losses`: {losses} would read the teacher's vectors, but an item-item model "
            f"({teacher.kind}) has none that are shorter than the catalogue; train a teacher with factors (a neural "
            "model, als, or an ensemble of these), or remove the loss"
        )


def check_teacher(teacher: RecommenderConfig, data: DataConfig) -> None:
    """A teacher, and each member of an ensemble, reads an order, features, histories and validation that there are."""
    for member in teacher.members if isinstance(teacher, EnsembleConfig) else []:
        check_teacher(member, data)
    if isinstance(teacher, EnsembleConfig) and teacher.combine == "gate" and not data.split.wants_validation:
        raise ValueError(
            "`teacher`: `combine: gate` is fitted on validation events, and `data.split` sets none apart; set "
            "`valid_fraction`, or choose `combine: agreement` or `fixed`"
        )
    _check_features(teacher, "teacher", data)
    ordered = isinstance(teacher, SequenceConfig)
    if not ordered:  # those that read an order learn from sequences, not from examples
        check_sets(teacher, "teacher", data)
    if ordered and data.columns.timestamp is None:
        raise ValueError(f"`teacher`: a {teacher.kind} reads an order, which needs `data.columns.timestamp`")
    section = "features" if ordered else "examples"
    most, window = getattr(data, section).history_length, getattr(teacher, "history_length", 0)
    if window > most:
        raise ValueError(
            f"`teacher`: history_length {window} is longer than the {most} of `data.{section}.history_length`"
        )


def _check_features(model: RecommenderConfig, key: str, data: DataConfig) -> None:
    """What a model turns on by default, as a two-tower does, it takes where it is; what is asked for must exist."""
    asked = isinstance(model, NeuralConfig) and model.user_features and model.changed("user_features")
    if asked and not (data.users and data.users.has_features):
        raise ValueError(f"`{key}`: `user_features` of a {model.kind} needs feature columns in `data.users`")
