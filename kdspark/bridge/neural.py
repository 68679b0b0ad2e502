"""Training one neural model in one process: tables through Petastorm, objective, trainer, weights to a folder.

`train_process` is what every rank runs, in the driver's process or on an executor, so its arguments are plain JSON
and all it touches lies in folders that every node sees.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from pydantic import TypeAdapter

from kdspark import tables
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared, Scope
from kdspark.bridge.snapshots import Snapshots
from kdspark.bridge.validation import validator
from kdspark.bridge.warm import start_from
from kdspark.config import DistillConfig, StudentConfig, TrainableConfig, TrainingConfig
from kdspark.distill.base import Objective
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.curriculum import CurriculumFeed
from kdspark.distill.feed import ParquetFeed
from kdspark.distill.objectives import ExampleObjective
from kdspark.distill.sequences import SequenceObjective
from kdspark.distill.trainer import Trainer
from kdspark.errors import TrainingError
from kdspark.models.batch import FeatureSizes, UserBatch
from kdspark.models.build import build_model
from kdspark.models.memory import require_memory
from kdspark.models.recommender import Recommender
from kdspark.models.storage import load_item_vectors, save_model
from kdspark.workspace import read_json

_CONFIG: TypeAdapter[TrainableConfig] = TypeAdapter(StudentConfig)


def train_process(
    config: dict[str, Any],
    prepared: str,
    scope: Scope,
    rows: str | None,
    easier: list[str],
    distill: dict[str, Any] | None,
    top_k: int,
    teacher: str | None,
    checkpoints: str,
    seed: int,
    start: str | None,
    stop_after: int | None,
    heard: list[tuple[int, float]],
    snapshots: int,
    extras: dict[str, Any],
    out: str,
) -> dict[str, Any]:
    """Train one model; rank 0 writes its folder.

    Args:
        config: a trainable model's configuration.
        prepared: the prepare stage's folder.
        scope: "train" validates on the valid events, if there are any; "full" does not.
        rows: folder of training rows; None trains a causal model on whole sequences, any other on the examples.
        easier: folders of the same rows with the answers of the teacher's earlier states, in their order.
        distill: the loss; None for hard labels alone.
        top_k: how many of a row's candidates are the teacher's ordered top.
        teacher: serving bundle whose item vectors losses on vectors read; None where none does.
        checkpoints: folder for checkpoints.
        seed: of everything random.
        start: model folder whose weights the model starts from; None for fresh ones.
        stop_after: epochs to train on the schedule of all.
        heard: (epoch, validation metric) of the training that a refit repeats.
        snapshots: earlier states to keep beside the model.
        extras: kept in the model's description.
        out: the model folder.

    Returns:
        best_epoch, best_metric, curve, snapshots (their epochs), and rows: the table it learned from and how many
        rows that has.
    """
    model_config, source = _CONFIG.validate_python(config), Prepared(Path(prepared))
    items = load_items(source.items(scope))
    model = build_model(model_config, source.n_users, source.n_items, items, source.user_sizes, seed)
    sequences = rows is None and model.causal
    folder = Path(rows) if rows else (source.users(scope) if sequences else source.examples(scope))
    if start is not None:
        start_from(Path(start), model, source, items, scope, folder)
    loss = DistillConfig.model_validate(distill if distill is not None else {"lambda": 0.0})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    objective: Objective
    if sequences:
        objective = SequenceObjective(model, model_config.training, _window(model_config), not source.repeats)
    else:
        objective = _example_objective(model, model_config, source, loss, top_k, teacher, seed)
    columns = _user_columns(source.user_sizes) + ([] if sequences else [tables.TARGETS])
    feed = _feeds([*map(Path, easier), folder], columns + _label_columns(loss), loss, model_config.training, seed)
    rows_per_step = min(model_config.training.batch_size, feed.rows)
    require_memory(
        objective.step_bytes(rows_per_step),
        f"{model_config.kind}: scores of {source.n_items:,} items for {rows_per_step:,} rows per step",
        "Set `training.negatives` (a sampled softmax, for example 1024) and `pool` or `refresh` of losses on the "
        "student's own top, or lower `training.batch_size`.",
        device,
    )
    validated = scope == "train" and source.has_validation
    if loss.feedback is not None and not (validated or heard):
        raise TrainingError(
            "`distill.lambda_schedule`: feedback goes by validations, and the split left no events for them.",
            "Choose a split that leaves some, or another schedule.",
        )
    kept = Snapshots(snapshots, Path(checkpoints), lambda folder: save_model(model, folder, extras))
    trainer = Trainer(
        objective,
        lambda epoch: _batches(feed, epoch),
        feed.steps,
        model_config.training,
        seed,
        validate=validator(source, model_config.training, seed) if validated else None,
        folder=Path(checkpoints),
        device=device,
        title=f"{model_config.kind}{', distilled' if loss.distils else ''}",
        stop_after=stop_after,
        heard=dict(heard),
        after_epoch=kept.after_epoch if snapshots else None,
        patience_from=loss.curriculum.final_from(model_config.training.epochs) if loss.curriculum else 0,
    )
    result = trainer.fit()
    if _rank() == 0:
        save_model(model.cpu(), Path(out), extras)
        kept.write(Path(out), result.best_epoch)
    found = {"best_epoch": result.best_epoch, "best_metric": result.best_metric, "curve": result.curve}
    return {**found, "snapshots": kept.wanted(result.best_epoch), "rows": {folder.name: feed.rows}}


def _example_objective(
    model: Recommender,
    config: TrainableConfig,
    source: Prepared,
    loss: DistillConfig,
    top_k: int,
    teacher: str | None,
    seed: int,
) -> ExampleObjective:
    once = not source.repeats
    mask_history = source.examples_kind == "next_item" and once
    items_NE = load_item_vectors(Path(teacher)) if teacher else None
    return ExampleObjective(model, loss, config.training, top_k, mask_history, once, items_NE, seed)


def _user_columns(sizes: FeatureSizes) -> list[str]:
    """The columns that hold anything: features that a log does not have are empty lists, not worth reading."""
    optional = {tables.CODES: sizes.n_codes > 1, tables.NUMBERS: sizes.n_numbers, tables.VECTOR: sizes.n_vector}
    return [tables.USER_IDX, tables.HISTORY, *(name for name, present in optional.items() if present)]


def _label_columns(loss: DistillConfig) -> list[str]:
    """The columns of the soft labels that any part of the loss reads."""
    columns = [tables.CANDIDATES, tables.LOGITS] if loss.reads_candidates else []
    columns += [tables.TEACHER_VECTOR] if loss.reads_user_vectors else []
    return columns + ([tables.POSITION] if loss.refresh else [])


def _feeds(
    folders: list[Path], columns: list[str], loss: DistillConfig, training: TrainingConfig, seed: int
) -> ParquetFeed | CurriculumFeed:
    feeds = [_feed(folder, columns, training.batch_size, seed) for folder in folders]
    curriculum = loss.curriculum
    if curriculum is None:
        return feeds[0]
    return CurriculumFeed(feeds, lambda epoch: curriculum.state_at(epoch, training.epochs))


def _feed(folder: Path, columns: list[str], batch_size: int, seed: int) -> ParquetFeed:
    try:
        expected = int(read_json(folder.parent / "manifest.json")["rows"][folder.name])
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{folder}: its manifest gives no row count.", "Run the stage before again.") from error
    world = dist.get_world_size() if dist.is_initialized() else 1
    return ParquetFeed(folder, columns, batch_size, seed, expected_rows=expected, rank=_rank(), world=world)


def _batches(feed: ParquetFeed | CurriculumFeed, epoch: int) -> Iterator[ExampleBatch]:
    for columns in feed.epoch(epoch):
        rows = len(columns[tables.USER_IDX])
        no_ids, no_numbers = torch.empty(rows, 0, dtype=torch.int64), torch.empty(rows, 0)
        users = UserBatch(
            user_idx=columns[tables.USER_IDX],
            history=columns[tables.HISTORY],
            codes=columns.get(tables.CODES, no_ids),
            numbers=columns.get(tables.NUMBERS, no_numbers),
            vector=columns.get(tables.VECTOR, no_numbers),
        )
        targets = columns.get(tables.TARGETS, no_ids)
        keys = users.user_idx << 32 | columns[tables.POSITION] if tables.POSITION in columns else None
        read = columns.get
        yield ExampleBatch(
            users, targets, read(tables.CANDIDATES), read(tables.LOGITS), read(tables.TEACHER_VECTOR), keys
        )


def _window(config: TrainableConfig) -> int:
    return int(getattr(config, "history_length", 1))


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0
