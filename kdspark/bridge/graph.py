"""Training one graph model in this process: its graph from the train events, objective, trainer, tables to a folder."""

from pathlib import Path
from typing import Any

import torch

from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared, Scope, splits_of
from kdspark.bridge.snapshots import Snapshots
from kdspark.bridge.validation import validator
from kdspark.config import LightGCNConfig
from kdspark.distill.graph import Edges, GraphObjective
from kdspark.distill.trainer import Trainer, Validate
from kdspark.models.item_weights import interaction_matrix
from kdspark.models.lightgcn import LightGCN
from kdspark.models.memory import require_memory
from kdspark.models.recommender import Recommender
from kdspark.models.storage import save_model


def train_graph(
    config: LightGCNConfig,
    prepared: Prepared,
    scope: Scope,
    checkpoints: Path,
    seed: int,
    stop_after: int | None,
    extras: dict[str, Any],
    out: Path,
    snapshots: int = 0,
) -> dict[str, Any]:
    """Train a LightGCN on all events of a scope and write the folder of its `GraphFactors`.

    Args:
        scope: "train" validates on the valid events, if there are any; "full" does not.
        stop_after: epochs to train on the schedule of all.
        extras: kept in the model's description.
        snapshots: earlier states to keep beside the model.

    Returns:
        best_epoch, best_metric, curve, snapshots (their epochs), and rows: the table it learned from and how many
        rows that has.

    Raises:
        TrainingError: as the trainer does; the graph's tables do not fit into memory.
    """
    matrix_UN = interaction_matrix(prepared.event_blocks(splits_of(scope)), prepared.n_users, prepared.n_items)
    model = LightGCN(config, matrix_UN, load_items(prepared.items(scope)), seed)
    edges = Edges(matrix_UN, config.training.batch_size, seed)
    objective = GraphObjective(model, edges)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    require_memory(
        objective.step_bytes(min(len(edges), edges.batch_size)),
        f"lightgcn: {config.dim} dimensions of {prepared.n_users:,} users and {prepared.n_items:,} items",
        "Lower `dim`, `training.batch_size` or `training.negatives`.",
        device,
    )
    validated = scope == "train" and prepared.has_validation

    def save(folder: Path) -> None:
        with torch.no_grad():
            save_model(model.frozen(), folder, extras)

    kept = Snapshots(snapshots, checkpoints, save)
    trainer = Trainer(
        objective,
        edges.epoch,
        edges.steps,
        edges.batch_size,
        config.training,
        seed,
        validate=_frozen(validator(prepared, config.training, seed)) if validated else None,
        folder=checkpoints,
        device=device,
        title=config.kind,
        stop_after=stop_after,
        after_epoch=kept.after_epoch if snapshots else None,
    )
    result = trainer.fit()
    save_model(model.cpu().frozen(), out, extras)
    kept.write(out, result.best_epoch)
    found = {"best_epoch": result.best_epoch, "best_metric": result.best_metric, "curve": result.curve}
    return {
        **found,
        "snapshots": kept.wanted(result.best_epoch),
        "rows": {prepared.interactions.name: prepared.n_events(scope)},
    }


def _frozen(measure: Validate) -> Validate:
    """The measure of the tables that a network leaves: propagated once, not once per batch of users."""

    def validate(model: Recommender) -> float:
        assert isinstance(model, LightGCN)
        return measure(model.frozen())

    return validate
