"""train_student: the light model learns from hard and soft labels; its twin without distillation from hard ones."""

from functools import partial

from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.training import Request, train_recommender
from kdspark.config import Config, DistillConfig
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
    student = night.config.student.model_dump(mode="json")
    return {"student": student, "distill": distill, **warm.settings(night, _COMPARED, stage)}


def _plain_settings(night: Night) -> object:
    student = night.config.student.model_dump(mode="json")
    return {"student": student, **warm.settings(night, _COMPARED, PLAIN)}


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
    config, request, start = warm.started(task, request)
    trained = train_recommender(task.night.spark, config, request, task.out / MODEL)
    serving_bundle(task.out / MODEL, items, items, task.out / SERVING)
    return Outcome(rows=trained.rows, facts={**trained.facts(), **start})
