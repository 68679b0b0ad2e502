"""evaluate: every model of the night on the same test users, full catalogue, with intervals and paired tests.

Users are encoded from train events alone, and the lists leave out what they did in train and valid. What is written:
ranked lists, metrics per user, and comparison.json.
"""

from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.scoring import Timing, rank_users
from kdspark.config import Config
from kdspark.ranking.beyond import Catalogue, exposure_by_popularity, head_items
from kdspark.report.comparison import (
    ASSISTANT,
    COMPARISON,
    STUDENT,
    STUDENT_PLAIN,
    TEACHER,
    Comparison,
    ModelResult,
    PairedResult,
)
from kdspark.spark.bootstrap import Key, Summary, paired_models, summarise_by
from kdspark.spark.coverage import coverage_metrics
from kdspark.spark.histories import read_seen
from kdspark.spark.io import read_table, uri, write_table
from kdspark.spark.metrics import (
    ALL_USERS,
    COUNT,
    HEAD,
    SLICE,
    TAIL,
    activity_labels,
    item_exposure,
    per_user_metrics,
    slice_metric_names,
    with_activity,
)
from kdspark.stages import baselines, prepare
from kdspark.stages.at_once import at_once
from kdspark.stages.compared import Compared, compared_models, stages_compared
from kdspark.stages.stage import Night, Outcome, Stage, Task
from kdspark.workspace import read_json, write_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NAME = "evaluate"


def stage(config: Config) -> Stage:
    """The comparison of the baselines, the teacher, its assistant if there is one, and the students."""
    return Stage(NAME, "evaluate", (prepare.NAME, baselines.NAME, *stages_compared(config).values()), _settings, _build)


def _settings(night: Night) -> object:
    config = night.config
    return {
        "name": config.name,  # the comparison and its report carry it
        "evaluation": config.evaluation.model_dump(mode="json"),
        "exclude_seen": config.scoring.exclude_seen,
        "date": night.date.isoformat(),
    }


def _build(task: Task) -> Outcome:
    evaluation = _Evaluation(task)
    comparison = evaluation.compare()
    write_json(task.out / COMPARISON, comparison)
    users = comparison["dataset"]["test_users"]
    return Outcome(rows={"per_user": evaluation.rows, "test_users": users}, facts={"run_id": comparison["run_id"]})


def catalogue_of(prepared: Prepared, head_share: float) -> Catalogue:
    """What metrics beyond accuracy, and those of the head and the tail, read of the items."""
    items = load_items(prepared.items("train"))
    counts_N = items.n_events.numpy()
    return Catalogue(counts_N, items.codes.numpy(), items.vector.numpy(), head_items(counts_N, head_share))


def truth_and_seen(
    spark: "SparkSession", prepared: Prepared, exclude_seen: bool
) -> tuple["DataFrame", "DataFrame | None"]:
    """Table "truth" of the test events, and what lists leave out: items of train and valid, or None for nothing."""
    interactions, before = read_table(spark, prepared.interactions), (tables.TRAIN, tables.VALID)
    known = interactions.filter(F.col(tables.SPLIT).isin(*before))
    tested = interactions.filter(F.col(tables.SPLIT) == tables.TEST)
    if exclude_seen:  # what a list may not hold, it cannot be blamed for missing
        tested = tested.join(known, [tables.USER_IDX, tables.ITEM_IDX], "left_anti")
    truth = tested.groupBy(tables.USER_IDX).agg(F.sort_array(F.collect_set(tables.ITEM_IDX)).alias(tables.TRUTH))
    return truth, read_seen(spark, prepared.interactions, before) if exclude_seen else None


class _Evaluation:
    """One run of the stage."""

    def __init__(self, task: Task) -> None:
        self.task, self.config = task, task.night.config
        self.spark = task.night.spark
        self.prepared = Prepared(task.inputs[prepare.NAME])
        self.models = list(compared_models(task, self.config))
        self.rows = 0
        self.catalogue = catalogue_of(self.prepared, self.config.evaluation.head_share)
        self.catalogue.save(task.out / "catalogue.npz")

    def compare(self) -> Comparison:
        timings = self._rank()
        per_user = self._per_user()
        bootstrap = self.config.evaluation.bootstrap, self.config.seed
        confidence = self.config.evaluation.confidence
        users = read_table(self.spark, self.prepared.users("train"))
        sliced = with_activity(per_user, users, self.config.evaluation.activity_bounds)
        summaries = summarise_by(sliced, [tables.MODEL, SLICE], confidence, *bootstrap)
        paired = paired_models(per_user, self._pairs(), confidence, *bootstrap)
        results = at_once(*(partial(self._result, model, summaries, timings[model.name]) for model in self.models))
        return {
            "date": self.task.night.date.isoformat(),
            "run_id": self.task.key[:12],
            "dataset": self._dataset(summaries[(STUDENT, ALL_USERS)].users),
            "models": results,
            "paired": [
                PairedResult(a=a, b=b, metric=metric, **found)
                for (a, b), metrics in paired.items()
                for metric, found in metrics.items()
            ],
            "curves": {name: curve for model in self.models for name, curve in model.curves},
        }

    def _rank(self) -> dict[str, Timing]:
        """Write the lists of every model; the timings are filled in by then."""
        scoring, k = self.config.scoring, max(self.config.evaluation.ks)
        truth, seen = truth_and_seen(self.spark, self.prepared, scoring.exclude_seen)
        write_table(truth, "truth", self.task.out / "truth")
        everyone = read_table(self.spark, self.prepared.users("train"))
        users = everyone.join(self._truth().select(tables.USER_IDX), tables.USER_IDX, "left_semi")
        timings = {}
        for model in self.models:
            ranked, timings[model.name] = rank_users(
                users, seen, model.bundle, k, scoring.batch_size, scoring.memory_mib
            )
            write_table(ranked, "ranked", self._folder(model.name))
        return timings

    def _per_user(self) -> "DataFrame":
        frames = [
            per_user_metrics(
                self._ranked(model.name), self._truth(), self.config.evaluation.ks, self.task.out / "catalogue.npz"
            ).withColumn(tables.MODEL, F.lit(model.name))
            for model in self.models
        ]
        folder = self.task.out / "per_user"
        together = reduce(lambda one, other: one.unionByName(other), frames)
        together.write.parquet(uri(folder))
        per_user = read_table(self.spark, folder)
        self.rows = per_user.count()
        return per_user

    def _result(self, model: Compared, summaries: dict[Key, Summary], timing: Timing) -> ModelResult:
        evaluation = self.config.evaluation
        overall = summaries[(model.name, ALL_USERS)].metrics
        in_slices = {name for names in slice_metric_names(evaluation.ks).values() for name in names}
        metrics = {name: found for name, found in overall.items() if name not in in_slices}
        items = read_table(self.spark, self.prepared.items("train"))
        known = items.filter(F.col(tables.N_EVENTS) > 0).select(tables.ITEM_IDX)
        metrics |= coverage_metrics(
            self._ranked(model.name), evaluation.ks, known, evaluation.confidence, self.config.seed
        )
        activity = [
            (label, summaries.get((model.name, label))) for label in activity_labels(evaluation.activity_bounds)
        ]
        return {
            "model": model.name,
            "title": model.title,
            "params": int(model.facts["params"]),
            "bytes": int(model.facts["bytes"]),
            "train_seconds": float(model.facts["seconds"]),
            "encode_seconds": round(timing.encode.value, 4),
            "score_seconds": round(timing.score.value, 4),
            "metrics": metrics,
            "slices": {
                "activity": [
                    {
                        "label": label,
                        "users": found.users,
                        "metrics": {name: found.metrics[name] for name in metrics if name in found.metrics},
                    }
                    for label, found in activity
                    if found is not None
                ],
                "popularity": [
                    {"label": part, "metrics": {name.removeprefix(f"{part}:"): overall[name] for name in names}}
                    for part, names in slice_metric_names(evaluation.ks).items()
                    if part in (HEAD, TAIL)
                ],
            },
            "exposure": self._exposure(model.name),
        }

    def _exposure(self, model: str) -> list[tuple[float, float]]:
        """How recommendations spread over items from the least to the most popular; one count per item shown."""
        shown = item_exposure(self._ranked(model), max(self.config.evaluation.ks)).toPandas()
        exposure_N = np.zeros(len(self.catalogue.counts_N), np.int64)
        exposure_N[shown[tables.ITEM_IDX].to_numpy(np.int64)] = shown[COUNT].to_numpy(np.int64)
        known_N = self.catalogue.counts_N > 0
        return exposure_by_popularity(exposure_N[known_N], self.catalogue.counts_N[known_N])

    def _pairs(self) -> list[tuple[str, str]]:
        names = [model.name for model in self.models]
        wanted = [(STUDENT, TEACHER), (STUDENT, STUDENT_PLAIN)]
        wanted += [(ASSISTANT, TEACHER), (STUDENT, ASSISTANT)] if ASSISTANT in names else []
        wanted += [(one, other) for one in (STUDENT, TEACHER) for other in names[: names.index(TEACHER)]]
        return wanted

    def _dataset(self, test_users: int) -> dict[str, Any]:
        manifest = read_json(self.prepared.folder / "manifest.json")
        return {
            "name": self.config.name,
            "users": manifest["rows"]["user_ids"],
            "items": manifest["facts"]["catalogue"],
            "events": manifest["rows"]["interactions"],
            "quarantined": manifest["rows"].get("quarantine", 0),
            "test_users": test_users,
            **{f"{split}_events": count for split, count in manifest["facts"]["splits"].items()},
        }

    def _truth(self) -> "DataFrame":
        return read_table(self.spark, self.task.out / "truth")

    def _ranked(self, model: str) -> "DataFrame":
        return read_table(self.spark, self._folder(model))

    def _folder(self, model: str) -> Path:
        return self.task.out / f"ranked_{model}"
