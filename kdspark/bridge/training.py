"""From a recommender's configuration to a trained model folder, whatever its kind.

Neural models train in this process or through TorchDistributor, fed by Petastorm; graph models train in this process
on the graph of the train events, and item-item models are solved from them; ALS runs in Spark; popularity counts; a
pre-trained one is loaded, one of another workspace is mapped to tonight's items first; an ensemble trains its members
before it.
"""

import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdspark.bridge.distributed import run_training
from kdspark.bridge.fitted import fit
from kdspark.bridge.gate import train_gate
from kdspark.bridge.graph import train_graph
from kdspark.bridge.items import load_items
from kdspark.bridge.neural import Job, train_process
from kdspark.bridge.request import TRAINING_FILE, Request, Trained
from kdspark.bridge.snapshots import snapshot, state_of
from kdspark.bridge.transfer import transferred, tuned
from kdspark.bridge.vocabulary import vocabulary_stamp
from kdspark.config import (
    EnsembleConfig,
    LightGCNConfig,
    NeuralConfig,
    PretrainedConfig,
    RecommenderConfig,
    TransferConfig,
)
from kdspark.models.ensemble import Ensemble
from kdspark.models.recommender import Recommender
from kdspark.models.storage import describe_folder, folder_bytes, load_model, save_model, store_as
from kdspark.models.weighing import Agreement, Gate, Weigher
from kdspark.workspace import write_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Stamp = dict[str, Any]


def train_recommender(spark: "SparkSession", config: RecommenderConfig, request: Request, out: Path) -> Trained:
    """Train, fit or load a recommender and write its model folder, with training.json beside the weights.

    Raises:
        TrainingError: as the trainer does.
        ModelError: a pre-trained folder is damaged, or of a workspace with other ids.
    """
    started = time.perf_counter()
    members: list[Trained] = []
    record: dict[str, Any] = {}
    stamp = vocabulary_stamp(spark, request.prepared)
    if isinstance(config, EnsembleConfig):
        members, gate = _train_ensemble(spark, config, request, stamp, out)
        record = {"gate": gate, "rows": {table: rows for member in members for table, rows in member.rows.items()}}
    elif isinstance(config, NeuralConfig):
        record = _train_neural(spark, config, request, stamp, out)
    elif isinstance(config, TransferConfig):
        record = _transfer(spark, config, request, stamp, out)
    elif isinstance(config, LightGCNConfig):
        record = _train_graph(config, request, stamp, out)
    else:
        save_model(fit(spark, config, request, out), out, stamp)
        if not isinstance(config, PretrainedConfig):
            record = {"rows": {request.prepared.interactions.name: request.prepared.n_events(request.scope)}}
    if request.storage != "float32":
        store_as(out, request.storage)
    trained = Trained(
        kind=config.kind,
        params=int(describe_folder(out)["n_params"]),
        bytes=folder_bytes(out),
        seconds=round(time.perf_counter() - started, 3),
        members=members,
        **record,
    )
    write_json(out / TRAINING_FILE, trained.facts())
    return trained


def _train_ensemble(
    spark: "SparkSession", config: EnsembleConfig, request: Request, stamp: Stamp, out: Path
) -> tuple[list[Trained], dict[str, Any] | None]:
    scratch = out.with_name(f"{out.name}-members")
    items = load_items(request.prepared.items(request.scope))
    trained: list[Trained] = []
    models: list[Recommender] = []
    for index, member in enumerate(config.members):
        folder = scratch / str(index)
        trained.append(train_recommender(spark, member, request.member(index), folder))
        models.append(load_model(folder, items))
    ensemble = Ensemble(models, config.weights, items).eval()
    ensemble.weigher = _weigher(config, request, ensemble)
    save_model(ensemble, out, stamp)
    for state in range(1, request.snapshots + 1):
        then = [load_model(state_of(scratch / str(index), state), items) for index in range(len(models))]
        earlier = Ensemble(then, config.weights, items, ensemble.weigher)
        save_model(earlier.eval(), snapshot(out, state), stamp)
    shutil.rmtree(scratch)
    return trained, ensemble.weigher.record() if isinstance(ensemble.weigher, Gate) else None


def _weigher(config: EnsembleConfig, request: Request, ensemble: Ensemble) -> Weigher | None:
    """A refit has no validation events, and takes the gate that the training on the train events found."""
    if config.combine == "agreement":
        return Agreement(config.agreement)
    if config.combine == "gate" and request.epochs_from:
        return Gate.of_record(config.mixture, request.epochs_from["gate"])
    if config.combine == "gate":
        return train_gate(ensemble, config.mixture, request.prepared, request.seed)
    return None


def _train_graph(config: LightGCNConfig, request: Request, stamp: Stamp, out: Path) -> dict[str, Any]:
    prepared, scope, folder = request.prepared, request.scope, request.checkpoints
    stop_after, snapshots = request.epochs_to_repeat, request.snapshots
    return train_graph(config, prepared, scope, folder, request.seed, stop_after, stamp, out, snapshots)


def _train_neural(
    spark: "SparkSession", config: NeuralConfig, request: Request, stamp: Stamp, out: Path
) -> dict[str, Any]:
    job = asdict(Job.of(config, request, stamp, out))
    request.checkpoints.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = run_training(
        spark, train_process, {"job": job}, config.training.num_processes, shared=request.checkpoints
    )
    return found


def _transfer(
    spark: "SparkSession", config: TransferConfig, request: Request, stamp: Stamp, out: Path
) -> dict[str, Any]:
    model, known = transferred(spark, config, request.prepared, request.scope, request.seed)
    if config.training is None:
        save_model(model, out, stamp)
        return {"transferred": known}
    start = request.checkpoints / "transferred"  # a resumed training writes the same again
    save_model(model, start, stamp)
    found = _train_neural(spark, tuned(config, model), replace(request, start=start), stamp, out)
    return {**found, "transferred": known}
