"""train_student: the light model learns from hard and soft labels; its twin without distillation from hard ones.

Each may be several copies, trained on the same rows one after another, which answer as one model (`student_copies`).
"""

from dataclasses import replace
from functools import partial
from typing import Any

from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import Request
from kdspark.bridge.training import train_recommender
from kdspark.config import Config, DistillConfig, EnsembleConfig
from kdspark.stages import assistant, distilled, prepare, warm
from kdspark.stages.stage import Night, Outcome, Scope, Stage, Task

PLAIN = "train_plain"
MODEL, SERVING = distilled.MODEL, distilled.SERVING


def name(scope: Scope) -> str:
    return "train_student" if scope == "train" else "refit_student"


_COMPARED = (name("train"), PLAIN)


def stage(scope: Scope, config: Config) -> Stage:
    """The distilled student; with scope "full", the refit on every event with the epochs found."""
    needs = assistant.source(scope, config).needs(config.distill)
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
    config = night.config.model_copy(update={"student": night.config.twin})
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
    config = task.night.config
    source = assistant.source(scope, config)
    return _train(task, distilled.request(task, scope, config.distill, source, name("train")))


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
            stall_s=task.night.config.loader.stall_seconds,
        ),
    )


def _train(task: Task, wanted: Request) -> Outcome:
    items = wanted.prepared.items(wanted.scope)
    night = task.night.config
    student, wanted, start = warm.started(task, replace(wanted, storage=night.student_storage))
    model = student if night.student_copies == 1 else EnsembleConfig(members=[student] * night.student_copies)
    trained = train_recommender(task.night.spark, model, wanted, task.out / MODEL)
    serving_bundle(task.out / MODEL, items, items, task.out / SERVING)
    return Outcome(rows=trained.rows, facts={**trained.facts(), **start})
