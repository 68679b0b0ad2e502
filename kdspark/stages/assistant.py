"""train_assistant and assistant_labels: a model between teacher and student, and its answers for the student.

Both run before the student: the assistant learns from the teacher's soft labels, and answers the same positions.
"""

from dataclasses import replace

from kdspark.bridge.training import train_recommender
from kdspark.config import AssistantConfig, Config
from kdspark.stages import labels, teacher
from kdspark.stages.distilled import MODEL, Source, request
from kdspark.stages.stage import Night, Outcome, Scope, Stage, Task

_VERB = "train-student"


def name(scope: Scope) -> str:
    return "train_assistant" if scope == "train" else "refit_assistant"


def labels_name(scope: Scope) -> str:
    return "assistant_labels" if scope == "train" else "refit_assistant_labels"


def stages(scope: Scope, config: Config) -> list[Stage]:
    """Its training and its answers; none without `assistant`. With scope "full", the refit with the epochs found."""
    if config.assistant is None:
        return []
    needs = Source(teacher.name(scope), labels.name(scope)).needs(config.first_distill)
    if scope == "full":
        needs = (*needs, name("train"))
    return [
        Stage(name(scope), _VERB, needs, _settings, lambda task: _build(task, scope)),
        labels.answers(labels_name(scope), _VERB, scope, name(scope), lambda night: night.config.distill),
    ]


def source(scope: Scope, config: Config) -> Source:
    """Who teaches the student."""
    if config.assistant is None:
        return Source(teacher.name(scope), labels.name(scope))
    return Source(name(scope), labels_name(scope))


def _settings(night: Night) -> object:
    distill = night.config.first_distill.model_dump(mode="json", by_alias=True)
    model = _assistant(night.config).model.model_dump(mode="json")
    snapshots = night.config.distill.snapshots
    return {"assistant": model, "distill": distill, **({"snapshots": snapshots} if snapshots else {})}


def _build(task: Task, scope: Scope) -> Outcome:
    config = task.night.config
    taught = Source(teacher.name(scope), labels.name(scope))
    wanted = request(task, scope, config.first_distill, taught, name("train"))
    wanted = replace(wanted, snapshots=config.distill.snapshots)
    trained = train_recommender(task.night.spark, _assistant(config).model, wanted, task.out / MODEL)
    teacher.write_bundles(task.out, config.distill, wanted.prepared.items(scope))
    return Outcome(rows=trained.rows, facts=trained.facts())


def _assistant(config: Config) -> AssistantConfig:
    assert config.assistant is not None
    return config.assistant
