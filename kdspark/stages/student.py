"""train_student: the light model learns from hard and soft labels; its twin without distillation from hard ones.

Each may be several copies, trained on the same rows one after another, which answer as one model (`student_copies`).
"""

from dataclasses import replace
from functools import partial
from typing import Any

from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.training import Request, train_recommender
from kdspark.config import Config, DistillConfig, EnsembleConfig
from kdspark.stages import labels, prepare, teacher, warm
from kdspark.stages.stage import Night, Outcome, Scope, Stage, Task
from kdspark.workspace import read_json

PLAIN = "train_plain"
MODEL, SERVING = warm.MODEL, "serving"


def name(scope: Scope) -> str:
    return "train_student" if scope == "train" else "refit_student"


_COMPARED = (name("train"), PLAIN)


def stage(scope: Scope, config: Config) -> Stage:
    """The distilled student; with scope "full", the refit on every event with the epochs found."""
    needs: tuple[str, ...] = (prepare.NAME, labels.name(scope))
    if config.distill.reads_vectors:
        needs = (*needs, teacher.name(scope))
    if scope == "full":
        needs = (*needs, name("train"))
    settings = partial(_settings, stage=name(scope))
    return Stage(name(scope), "train-student", needs, settings, lambda task: _build(task, scope))


def plain_stage() -> Stage:
    """The same student, trained on the same rows with lambda = 0: what distillation is compared with."""
    return Stage(PLAIN, "train-student", (prepare.NAME,), _plain_settings, _build_plain)


def _settings(night: Night, stage: str) -> object:
    distill = night.config.distill.model_dump(mode="json", by_alias=True)
    return {**_model_settings(night.config), "distill": distill, **warm.settings(night, _COMPARED, stage)}


def _plain_night(night: Night) -> Night:
    """The night as the twin sees it, whose student is the twin."""
    twin = night.config.student_plain
    if twin is None:
        return night
    config = night.config.model_copy(update={"student": twin})
    return replace(night, config=config, start_session=lambda: night.spark)


def _plain_settings(night: Night) -> object:
    night = _plain_night(night)
    return {**_model_settings(night.config), **warm.settings(night, _COMPARED, PLAIN)}


def _model_settings(config: Config) -> dict[str, Any]:
    settings: dict[str, Any] = {"student": config.student.model_dump(mode="json")}
    # named only where it is so: a single student in float32 is the same as ever
    settings |= {"copies": config.student_copies} if config.student_copies > 1 else {}
    return settings | ({"storage": config.student_storage} if config.student_storage != "float32" else {})


def _build(task: Task, scope: Scope) -> Outcome:
    request = Request(
        Prepared(task.inputs[prepare.NAME]),
        scope,
        task.checkpoints,
        task.night.config.seed,
        rows=task.inputs[labels.name(scope)] / labels.TABLE,
        distill=task.night.config.distill,
        top_k=task.night.config.soft_labels.top_k,
        teacher=task.inputs[teacher.name(scope)] / teacher.SERVING if task.night.config.distill.reads_vectors else None,
    )
    if scope == "full":
        request = request.refit(read_json(task.inputs[name("train")] / MODEL / "training.json"))
    return _train(task, request)


def _build_plain(task: Task) -> Outcome:
    task = replace(task, night=_plain_night(task.night))
    prepared = Prepared(task.inputs[prepare.NAME])
    hard_only = DistillConfig.model_validate({"lambda": 0.0})
    return _train(
        task,
        Request(
            prepared,
            "train",
            task.checkpoints,
            task.night.config.seed,
            rows=prepared.examples("train"),
            distill=hard_only,
        ),
    )


def _train(task: Task, request: Request) -> Outcome:
    items = request.prepared.items(request.scope)
    night = task.night.config
    student, request, start = warm.started(task, replace(request, storage=night.student_storage))
    model = student if night.student_copies == 1 else EnsembleConfig(members=[student] * night.student_copies)
    trained = train_recommender(task.night.spark, model, request, task.out / MODEL)
    serving_bundle(task.out / MODEL, items, items, task.out / SERVING)
    return Outcome(rows=trained.rows, facts={**trained.facts(), **start})
