"""What to train a recommender on, and what its training found out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdspark.bridge.prepared import Prepared, Scope
from kdspark.bridge.warm import member_folder
from kdspark.config import DistillConfig, Storage
from kdspark.distill.feed import STALL_S

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
        stall_s: seconds without rows after which training gives up.
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
    stall_s: float = STALL_S
    epochs_from: Mapping[str, Any] | None = None

    def refit(self, record: Mapping[str, Any]) -> "Request":
        """The same request, with the steps that an earlier training found."""
        return replace(self, epochs_from=record)

    @property
    def epochs_to_repeat(self) -> int | None:
        """How many epochs a refit trains; None where there is no earlier training."""
        return int(self.epochs_from["best_epoch"]) if self.epochs_from else None

    @property
    def heard(self) -> list[tuple[int, float]]:
        """(epoch, validation metric) of that earlier training."""
        curve = self.epochs_from["curve"] if self.epochs_from is not None else []
        return [(int(row["epoch"]), float(row["valid"])) for row in curve if "valid" in row]

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
