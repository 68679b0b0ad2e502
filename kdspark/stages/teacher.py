"""train_teacher: the large model, trained, fitted in closed form, loaded, or an ensemble of these."""

from pathlib import Path
from typing import Any

from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import Request
from kdspark.bridge.snapshots import snapshot
from kdspark.bridge.training import train_recommender
from kdspark.bridge.transfer import vocabulary_of
from kdspark.config import Config, DistillConfig, EnsembleConfig, PretrainedConfig, RecommenderConfig, TransferConfig
from kdspark.errors import ConfigError, ModelError
from kdspark.models.build import has_short_vectors
from kdspark.models.storage import describe_folder
from kdspark.stages import prepare
from kdspark.stages.stage import Night, Outcome, Scope, Stage, Task
from kdspark.workspace import read_json

MODEL, SERVING = "model", "serving"


def name(scope: Scope) -> str:
    return "train_teacher" if scope == "train" else "refit_teacher"


def stage(scope: Scope) -> Stage:
    """Training on the train events with validation, or the refit on every event with the epochs found."""
    needs = (prepare.NAME,) if scope == "train" else (prepare.NAME, name("train"))
    return Stage(name(scope), "train-teacher", needs, _settings, lambda task: _build(task, scope))


def _settings(night: Night) -> object:
    teacher = night.config.teacher
    settings: dict[str, Any] = {"teacher": teacher.model_dump(mode="json"), "pretrained": _pretrained(teacher)}
    snapshots, transferred = night.config.first_distill.snapshots, _transferred(teacher)
    # named only where there are some: a teacher without them is the same as ever
    settings |= {"snapshots": snapshots} if snapshots else {}
    return settings | ({"transferred": transferred} if transferred else {})


def _transferred(config: RecommenderConfig) -> dict[str, str]:
    """As `_pretrained`, for models of other workspaces; with the digest of the vocabulary that tells their items."""
    if isinstance(config, TransferConfig):
        folder = vocabulary_of(config)
        try:
            key = str(read_json(folder / "manifest.json")["key"])
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder} is no finished prepare stage.", "Name one in `vocabulary`.") from error
        return {config.path: f"{describe_folder(Path(config.path)).get('sha256')} of {key}"}
    found: dict[str, str] = {}
    for member in config.members if isinstance(config, EnsembleConfig) else []:
        found |= _transferred(member)
    return found


def bundles(folder: Path, distill: DistillConfig) -> list[Path]:
    """Serving bundles in the folder of a stage whose model teaches: of its earlier states in their order, and its own.

    Args:
        distill: how its answers are learned from.
    """
    return [*(folder / f"{SERVING}_{state}" for state in range(1, distill.snapshots + 1)), folder / SERVING]


def write_bundles(folder: Path, distill: DistillConfig, items: Path) -> None:
    """Write them for the model in that folder."""
    states = [snapshot(folder / MODEL, state) for state in range(1, distill.snapshots + 1)]
    for model, bundle in zip([*states, folder / MODEL], bundles(folder, distill), strict=True):
        serving_bundle(model, items, items, bundle)


def _pretrained(config: RecommenderConfig) -> dict[str, str]:
    """Folder -> digest of its weights, so that a folder with new contents is a new teacher; checked before any work."""
    if isinstance(config, PretrainedConfig):
        return {config.path: str(describe_folder(Path(config.path)).get("sha256"))}
    found: dict[str, str] = {}
    for member in config.members if isinstance(config, EnsembleConfig) else []:
        found |= _pretrained(member)
    return found


def check_vectors(config: Config) -> None:
    """Refuse a pre-trained teacher without the vectors that a loss reads; any other the configuration refuses itself.

    Raises:
        ConfigError: it is an item-item model, or an ensemble with one.
        ModelError: its folder is missing or damaged.
    """
    for path in _pretrained(config.teacher) if config.first_distill.reads_vectors else []:
        if not has_short_vectors(describe_folder(Path(path))["model"]):
            losses = " and ".join(config.first_distill.vector_losses)
            raise ConfigError(
                f"`distill.losses`: {losses} would read the teacher's vectors, but {path} holds an item-item model, or "
                "an ensemble with one, whose vectors are as long as the catalogue.",
                "Name a teacher with factors (a neural model, als, or an ensemble of these), or remove the loss.",
            )


def _build(task: Task, scope: Scope) -> Outcome:
    prepared = Prepared(task.inputs[prepare.NAME])
    distill = task.night.config.first_distill
    request = Request(
        prepared,
        scope,
        task.checkpoints,
        task.night.config.seed,
        snapshots=distill.snapshots,
        stall_s=task.night.config.loader.stall_seconds,
    )
    if scope == "full":
        request = request.refit(read_json(task.inputs[name("train")] / MODEL / "training.json"))
    trained = train_recommender(task.night.spark, task.night.config.teacher, request, task.out / MODEL)
    write_bundles(task.out, distill, prepared.items(scope))
    return Outcome(rows=trained.rows, facts=trained.facts())
