"""Training one neural model in one process: tables through Petastorm, objective, trainer, weights to a folder.

`train_process` is what every rank runs, in the driver's process or on an executor, so what it is told is plain
JSON and all it touches lies in folders that every node sees.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from kdspark import tables
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared, Scope
from kdspark.bridge.request import Request
from kdspark.bridge.rows import Feed, batches, feed_of, label_columns, user_columns
from kdspark.bridge.snapshots import Snapshots
from kdspark.bridge.validation import validator
from kdspark.bridge.warm import start_from
from kdspark.config import DistillConfig, NeuralConfig, StudentConfig, TrainableConfig
from kdspark.distill.base import Objective
from kdspark.distill.feed import STALL_S
from kdspark.distill.objectives import ExampleObjective
from kdspark.distill.ranks import rank
from kdspark.distill.sequences import SequenceObjective
from kdspark.distill.trainer import Trainer
from kdspark.errors import TrainingError
from kdspark.models.build import build_model
from kdspark.models.memory import require_memory
from kdspark.models.recommender import Recommender
from kdspark.models.storage import load_item_vectors, save_model

_CONFIG: TypeAdapter[TrainableConfig] = TypeAdapter(StudentConfig)


@dataclass(frozen=True)
class Job:
    """One training in plain JSON, as it travels to every rank; all folders are seen by all nodes.

    Attributes:
        config: a trainable model's configuration.
        prepared: the prepare stage's folder.
        scope: "train" validates on the valid events, if there are any; "full" does not.
        checkpoints: folder for checkpoints.
        seed: of everything random.
        out: the model folder.
        rows: folder of training rows; None trains a causal model on whole sequences, any other on the examples.
        easier: folders of the same rows with the answers of the teacher's earlier states, in their order.
        distill: the loss; None for hard labels alone.
        top_k: how many of a row's candidates are the teacher's ordered top.
        teacher: serving bundle whose item vectors losses on vectors read; None where none does.
        start: model folder whose weights the model starts from; None for fresh ones.
        stop_after: epochs to train on the schedule of all.
        heard: (epoch, validation metric) of the training that a refit repeats.
        snapshots: earlier states to keep beside the model.
        stall_s: seconds without rows after which it gives up.
        extras: kept in the model's description.
    """

    config: dict[str, Any]
    prepared: str
    scope: Scope
    checkpoints: str
    seed: int
    out: str
    rows: str | None = None
    easier: list[str] = field(default_factory=list)
    distill: dict[str, Any] | None = None
    top_k: int = 0
    teacher: str | None = None
    start: str | None = None
    stop_after: int | None = None
    heard: list[tuple[int, float]] = field(default_factory=list)
    snapshots: int = 0
    stall_s: float = STALL_S
    extras: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: NeuralConfig, request: Request, extras: dict[str, Any], out: Path) -> "Job":
        """The job of a request."""
        return cls(
            config=config.model_dump(mode="json"),
            prepared=str(request.prepared.folder),
            scope=request.scope,
            checkpoints=str(request.checkpoints),
            seed=request.seed,
            out=str(out),
            rows=_text(request.rows),
            easier=[str(folder) for folder in request.easier],
            distill=request.distill.model_dump(mode="json", by_alias=True) if request.distill else None,
            top_k=request.top_k,
            teacher=_text(request.teacher),
            start=_text(request.start),
            stop_after=request.epochs_to_repeat,
            heard=request.heard,
            snapshots=request.snapshots,
            stall_s=request.stall_s,
            extras=extras,
        )

    @property
    def loss(self) -> DistillConfig:
        """What is minimised."""
        return DistillConfig.model_validate(self.distill if self.distill is not None else {"lambda": 0.0})


def train_process(job: dict[str, Any]) -> dict[str, Any]:
    """Train one model; rank 0 writes its folder.

    Args:
        job: the fields of a `Job`.

    Returns:
        best_epoch, best_metric, curve, snapshots (their epochs), and rows: the table it learned from and how many
        rows that has.
    """
    return _train(Job(**job))


def _train(job: Job) -> dict[str, Any]:
    config, source, loss = _CONFIG.validate_python(job.config), Prepared(Path(job.prepared)), job.loss
    items = load_items(source.items(job.scope))
    model = build_model(config, source.n_users, source.n_items, items, source.user_sizes, job.seed)
    sequences = job.rows is None and model.causal
    folder = Path(job.rows) if job.rows else (source.users(job.scope) if sequences else source.examples(job.scope))
    if job.start is not None:
        start_from(Path(job.start), model, source, items, job.scope, folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    objective: Objective
    if sequences:
        objective = SequenceObjective(model, config.training, _window(config), not source.repeats)
    else:
        objective = _example_objective(model, config, source, loss, job)
    columns = user_columns(source.user_sizes) + ([] if sequences else [tables.TARGETS])
    columns += label_columns(loss)
    feed = feed_of([*map(Path, job.easier), folder], columns, loss, config.training, job.seed, job.stall_s)
    _require_step_memory(config, objective, feed, source.n_items, device)
    validated = job.scope == "train" and source.has_validation
    if loss.hears and not (validated or job.heard):
        raise TrainingError(
            f"`distill.{loss.hears[0]}`: feedback goes by validations, and the split left no events for them.",
            "Choose a split that leaves some, or another schedule.",
        )
    kept = Snapshots(job.snapshots, Path(job.checkpoints), lambda folder: save_model(model, folder, job.extras))
    trainer = Trainer(
        objective,
        lambda epoch: batches(feed, epoch),
        feed.steps,
        feed.batch_size,
        config.training,
        job.seed,
        validate=validator(source, config.training, job.seed) if validated else None,
        folder=Path(job.checkpoints),
        device=device,
        title=f"{config.kind}{', distilled' if loss.distils else ''}",
        stop_after=job.stop_after,
        heard=dict(job.heard),
        after_epoch=kept.after_epoch if job.snapshots else None,
        patience_from=loss.curriculum.final_from(config.training.epochs) if loss.curriculum else 0,
    )
    result = trainer.fit()
    if rank() == 0:
        save_model(model.cpu(), Path(job.out), job.extras)
        kept.write(Path(job.out), result.best_epoch)
    found = {"best_epoch": result.best_epoch, "best_metric": result.best_metric, "curve": result.curve}
    return {**found, "snapshots": kept.wanted(result.best_epoch), "rows": {folder.name: feed.rows}}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _require_step_memory(config: TrainableConfig, objective: Objective, feed: Feed, n_items: int, device: str) -> None:
    rows = min(feed.batch_size, feed.rows)
    require_memory(
        objective.step_bytes(rows),
        f"{config.kind}: scores of {n_items:,} items for {rows:,} rows per step",
        "Set `training.negatives` (a sampled softmax, for example 1024) and `pool` or `refresh` of losses on the "
        "student's own top, or lower `training.batch_size`.",
        device,
    )


def _example_objective(
    model: Recommender, config: TrainableConfig, source: Prepared, loss: DistillConfig, job: Job
) -> ExampleObjective:
    once = not source.repeats
    mask_history = source.examples_kind == "next_item" and once
    items_NE = load_item_vectors(Path(job.teacher)) if job.teacher else None
    return ExampleObjective(model, loss, config.training, job.top_k, mask_history, once, items_NE, job.seed)


def _window(config: TrainableConfig) -> int:
    return int(getattr(config, "history_length", 1))
