"""soft_labels: a teacher's top-K and a sampled tail, with logits, for training positions and scoring inputs."""

import math
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.labels import write_labels
from kdspark.bridge.prepared import splits_of
from kdspark.config import DistillConfig
from kdspark.spark.earlier import with_earlier
from kdspark.spark.examples import scoring_inputs, widened
from kdspark.spark.io import read_table, training_files
from kdspark.stages import prepare, teacher
from kdspark.stages.stage import Night, Outcome, Scope, Stage, Task
from kdspark.workspace import read_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TABLE = "soft_labels"


def name(scope: Scope) -> str:
    return "soft_labels" if scope == "train" else "refit_labels"


def tables_of(distill: DistillConfig) -> list[str]:
    """The tables of answers: one per earlier state of who answers, in their order, then the final one's."""
    return [*(f"{TABLE}_{state}" for state in range(1, distill.snapshots + 1)), TABLE]


def stage(scope: Scope) -> Stage:
    """The teacher's answers."""
    return answers(name(scope), "soft-labels", scope, teacher.name(scope), lambda night: night.config.first_distill)


def answers(stage: str, verb: str, scope: Scope, answering: str, distill: Callable[[Night], DistillConfig]) -> Stage:
    """A stage of one model's answers.

    Args:
        answering: the stage whose serving bundle answers.
        distill: how its answers are learned from.
    """

    def settings(night: Night) -> dict[str, Any]:
        # named only where they are so: labels without them are the same as ever
        usual = {"positions"} if night.config.soft_labels.positions else set()
        found: dict[str, Any] = {"soft_labels": night.config.soft_labels.model_dump(mode="json", exclude=usual)}
        if distill(night).reads_user_vectors:
            found["vectors"] = True
        return {**found, "snapshots": distill(night).snapshots} if distill(night).snapshots else found

    def build(task: Task) -> Outcome:
        return _build(task, scope, answering, distill(task.night))

    return Stage(stage, verb, (prepare.NAME, answering), settings, build)


def _build(task: Task, scope: Scope, answering: str, distill: DistillConfig) -> Outcome:
    night = task.night
    config = night.config.soft_labels
    examples, rows = _inputs(task, scope)
    # A layout fixed by the data alone: the same files, in the same order, whatever the number of cores.
    laid_out = (
        _with_earlier(task, scope, examples)
        .repartition(training_files(rows), tables.USER_IDX)
        .sortWithinPartitions(tables.USER_IDX, tables.POSITION)
    )
    kept = _kept_length(task, scope)
    vectors, counted, teacher_id = distill.reads_user_vectors, {}, ""
    for table, bundle in zip(tables_of(distill), teacher.bundles(task.inputs[answering], distill), strict=True):
        teacher_id = str(read_json(bundle / "model.json")["sha256"])[:16]
        out, seed = task.out / table, night.config.seed
        counted[table] = write_labels(laid_out, out, bundle, config, teacher_id, seed, vectors, kept)
    return Outcome(rows=counted, facts={"teacher_id": teacher_id})


def _inputs(task: Task, scope: Scope) -> tuple["DataFrame", int]:
    """What is labelled, with histories as long as scoring's or the examples', and how many rows that is at most."""
    night, prepared = task.night, task.inputs[prepare.NAME]
    config, counts = night.config.soft_labels, read_json(prepared / "manifest.json")["rows"]
    frames, rows = [], 0
    if config.positions:
        frames.append(read_table(night.spark, prepared / f"examples_{scope}"))
        rows += int(counts[f"examples_{scope}"])
    if config.scoring_inputs:
        users = read_table(night.spark, prepared / f"users_{scope}")
        frames.append(scoring_inputs(users, night.config.data.examples.max_targets, config.scoring_inputs))
        rows += config.scoring_inputs * int(counts[f"users_{scope}"])
    length = max(_history_lengths(night))
    return reduce(lambda one, other: one.unionByName(other), (widened(frame, length) for frame in frames)), rows


def _with_earlier(task: Task, scope: Scope, examples: "DataFrame") -> "DataFrame":
    """What is labelled, with what the histories leave out where that is not to be answered."""
    night, prepared = task.night, task.inputs[prepare.NAME]
    if not night.config.soft_labels.mask_history:
        return examples
    events = read_table(night.spark, prepared / "interactions").filter(F.col(tables.SPLIT).isin(splits_of(scope)))
    users = read_table(night.spark, prepared / f"users_{scope}")
    data = night.config.data
    latest = _kept_length(task, scope) if data.filters.repeats == "all" else None
    return with_earlier(examples, events, users, min(_history_lengths(night)), data.examples.kind, latest)


def _kept_length(task: Task, scope: Scope) -> int:
    """How many of the latest items a labelled row keeps; what a student's softmax shall leave out is among them.

    Positions are rows of the examples. Without them a row stands for its user's whole history, and keeps all of it but
    for users with more than four times the events of the mean one: so rows stay linear in the log.
    """
    config, least = task.night.config, task.night.config.data.examples.history_length
    if config.soft_labels.positions:
        return least
    users = read_table(task.night.spark, task.inputs[prepare.NAME] / f"users_{scope}")
    counts = users.filter(F.col(tables.N_EVENTS) > 0).agg(F.max(tables.N_EVENTS), F.avg(tables.N_EVENTS)).first()
    assert counts is not None
    return least if counts[0] is None else max(least, min(counts[0], math.ceil(4 * counts[1])))


def _history_lengths(night: Night) -> tuple[int, int]:
    """Of positions and of scoring inputs."""
    return night.config.data.examples.history_length, night.config.data.features.history_length
