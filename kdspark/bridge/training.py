"""From a recommender's configuration to a trained model folder, whatever its kind.

Neural models train in this process or through TorchDistributor, fed by Petastorm; graph models train in this process
on the graph of the train events, and item-item models are solved from them; ALS runs in Spark; popularity counts; a
pre-trained one is loaded, one of another workspace is mapped to tonight's items first; an ensemble trains its members
before it.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdspark import tables
from kdspark.bridge.als import fit_als
from kdspark.bridge.distributed import run_training
from kdspark.bridge.gate import train_gate
from kdspark.bridge.graph import train_graph
from kdspark.bridge.items import load_items
from kdspark.bridge.neural import train_process
from kdspark.bridge.prepared import Prepared, Scope, splits_of
from kdspark.bridge.snapshots import snapshot, state_of
from kdspark.bridge.transfer import transferred, tuned
from kdspark.bridge.vocabulary import check_vocabulary, vocabulary_stamp
from kdspark.bridge.warm import member_folder
from kdspark.config import (
    ALSConfig,
    DistillConfig,
    EASEConfig,
    EnsembleConfig,
    GFCFConfig,
    ItemItemConfig,
    LightGCNConfig,
    NeuralConfig,
    PopularityConfig,
    PretrainedConfig,
    RecommenderConfig,
    Storage,
    TransferConfig,
)
from kdspark.models.batch import ItemTable
from kdspark.models.build import build_model
from kdspark.models.closed_form import Factors, ease_bytes, fit_ease, gram
from kdspark.models.ensemble import Ensemble
from kdspark.models.item_item import ItemItem
from kdspark.models.item_weights import ease_weights, gfcf_weights, interaction_matrix, pruned_ease_bytes
from kdspark.models.memory import require_memory
from kdspark.models.recommender import Recommender
from kdspark.models.storage import describe_folder, load_model, save_model, store_as
from kdspark.models.weighing import Agreement, Gate, Weigher
from kdspark.spark.io import read_table
from kdspark.workspace import write_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Stamp = dict[str, Any]
TRAINING_FILE = "training.json"
_MEMBER_SEED = 1000  # members of equal configuration must differ


@dataclass(frozen=True)
class Request:
    """What to train on.

    Attributes:
        prepared: the prepare stage's tables.
        scope: "train", with validation, or "full", every event of the night, without.
        checkpoints: folder that outlives a crash.
        seed: of initial weights, order and dropout.
        rows: training rows of a student (examples or soft labels); None for a teacher, which reads whole sequences.
        distill: how a student learns from them.
        top_k: how many of a row's candidates are the teacher's ordered top.
        teacher: the serving bundle of the rows' teacher, for losses on its vectors.
        start: model folder whose weights a neural model starts from, of an equal configuration, or a folder with those
            of an ensemble's members (`bridge.warm.member_folder`); None for fresh ones.
        storage: of the model folder; training is in float32 always.
        easier: `rows` with the answers of the teacher's earlier states, in their order.
        snapshots: earlier states to keep beside the model, for its own students.
        epochs_from: the training record of the same model, whose number of epochs, and the feedback of whose
            validations, a refit repeats.
    """

    prepared: Prepared
    scope: Scope
    checkpoints: Path
    seed: int
    rows: Path | None = None
    distill: DistillConfig | None = None
    top_k: int = 0
    teacher: Path | None = None
    start: Path | None = None
    storage: Storage = "float32"
    easier: tuple[Path, ...] = ()
    snapshots: int = 0
    epochs_from: Mapping[str, Any] | None = None

    def refit(self, record: Mapping[str, Any]) -> "Request":
        """The same request, with the steps that an earlier training found."""
        return replace(self, epochs_from=record)

    @property
    def epochs_to_repeat(self) -> int | None:
        """How many epochs a refit trains; None where there is no earlier training."""
        return int(self.epochs_from["best_epoch"]) if self.epochs_from else None

    def member(self, index: int) -> "Request":
        """The request for one member of an ensemble."""
        record = self.epochs_from["members"][index] if self.epochs_from else None
        return replace(
            self,
            checkpoints=self.checkpoints / f"member-{index}",
            seed=self.seed + _MEMBER_SEED * index,
            start=member_folder(self.start, index) if self.start else None,
            storage="float32",  # the ensemble is stored, not its members
            epochs_from=record,
        )


@dataclass(frozen=True)
class Trained:
    """What training found out; the model is on disk.

    `rows` counts what it learned from: table -> rows. `snapshots` are the epochs of the earlier states kept,
    `gate` is that of an ensemble which has one, `transferred` how much of the catalogue another log's model knows.
    """

    kind: str
    params: int
    bytes: int
    seconds: float
    best_epoch: int = 0
    best_metric: float | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    snapshots: list[int] = field(default_factory=list)
    members: list["Trained"] = field(default_factory=list)
    gate: dict[str, Any] | None = None
    transferred: dict[str, Any] | None = None

    def facts(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**vars(self), "members": [member.facts() for member in self.members]}


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
        save_model(_fit(spark, config, request, out), out, stamp)
        if not isinstance(config, PretrainedConfig):
            record = {"rows": {request.prepared.interactions.name: request.prepared.n_events(request.scope)}}
    if request.storage != "float32":
        store_as(out, request.storage)
    trained = Trained(
        kind=config.kind,
        params=int(describe_folder(out)["n_params"]),
        bytes=sum((out / name).stat().st_size for name in ("model.json", "model.safetensors")),
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


def _fit(
    spark: "SparkSession",
    config: ItemItemConfig | ALSConfig | PopularityConfig | PretrainedConfig,
    request: Request,
    out: Path,
) -> Recommender:
    prepared = request.prepared
    items = load_items(prepared.items(request.scope))
    splits = splits_of(request.scope)
    if isinstance(config, PretrainedConfig):
        check_vocabulary(spark, prepared, Path(config.path))
        return load_model(Path(config.path), items)
    if isinstance(config, ItemItemConfig):
        return _fit_item_item(config, request, items)
    if isinstance(config, ALSConfig):
        scratch = out.with_name(f"{out.name}-factors")
        scratch.mkdir(parents=True)
        events = read_table(spark, prepared.interactions)
        events = events.filter(events[tables.SPLIT].isin(splits))
        users, factors = fit_als(events, config, prepared.n_users, prepared.n_items, request.seed, scratch)
        shutil.rmtree(scratch)
        return Factors.from_numpy(users, factors, items)
    return build_model(config, prepared.n_users, prepared.n_items, items, prepared.user_sizes, request.seed)


def _fit_item_item(config: ItemItemConfig, request: Request, items: ItemTable) -> Recommender:
    prepared, blocks = request.prepared, request.prepared.event_blocks(splits_of(request.scope))
    n_users, n_items = prepared.n_users, prepared.n_items
    if isinstance(config, EASEConfig) and config.keep is None:
        require_memory(
            ease_bytes(n_items),
            f"ease: item-item matrices of {n_items:,} items",
            "Set `keep` (1000, for example), raise `data.filters.min_item_events`, or choose another model.",
        )
        return fit_ease(config, gram(blocks, n_items), n_users, items)
    assert config.keep is not None
    matrix_UN = interaction_matrix(blocks, n_users, n_items)
    if isinstance(config, GFCFConfig):
        weights_NN = gfcf_weights(config, matrix_UN, config.keep, request.seed)
    else:
        assert isinstance(config, EASEConfig)
        require_memory(
            pruned_ease_bytes(n_users, n_items),
            f"ease: the inverse for {min(n_users, n_items):,} users or items",
            "Raise `data.filters.min_item_events`, or choose another model: EASE is for tens of thousands of items.",
        )
        weights_NN = ease_weights(config, matrix_UN, config.keep)
    return ItemItem(config, weights_NN, n_users, items)


def _train_graph(config: LightGCNConfig, request: Request, stamp: Stamp, out: Path) -> dict[str, Any]:
    prepared, scope, folder = request.prepared, request.scope, request.checkpoints
    stop_after, snapshots = request.epochs_to_repeat, request.snapshots
    return train_graph(config, prepared, scope, folder, request.seed, stop_after, stamp, out, snapshots)


def _train_neural(
    spark: "SparkSession", config: NeuralConfig, request: Request, stamp: Stamp, out: Path
) -> dict[str, Any]:
    arguments = {
        "config": config.model_dump(mode="json"),
        "prepared": str(request.prepared.folder),
        "scope": request.scope,
        "rows": str(request.rows) if request.rows else None,
        "easier": [str(folder) for folder in request.easier],
        "distill": request.distill.model_dump(mode="json", by_alias=True) if request.distill else None,
        "top_k": request.top_k,
        "teacher": str(request.teacher) if request.teacher else None,
        "checkpoints": str(request.checkpoints),
        "seed": request.seed,
        "start": str(request.start) if request.start else None,
        "stop_after": request.epochs_to_repeat,
        "heard": _heard(request.epochs_from),
        "snapshots": request.snapshots,
        "extras": stamp,
        "out": str(out),
    }
    request.checkpoints.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = run_training(
        spark, train_process, arguments, config.training.num_processes, shared=request.checkpoints
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


def _heard(record: Mapping[str, Any] | None) -> list[tuple[int, float]]:
    """(epoch, validation metric) of an earlier training's record."""
    curve = record["curve"] if record is not None else []
    return [(int(row["epoch"]), float(row["valid"])) for row in curve if "valid" in row]
