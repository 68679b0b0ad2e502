"""What a trained student loses by being stored in fewer bytes: the same weights in every storage, on the test events.

Nothing is trained again. Lists, masks and metrics are those of the evaluate stage.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.scoring import rank_users
from kdspark.config import Storage
from kdspark.models.storage import folder_bytes, store_as
from kdspark.spark.io import read_table
from kdspark.spark.metrics import TAIL, per_user_metrics, slice_metric_names
from kdspark.stages import prepare, student
from kdspark.stages.evaluate import catalogue_of, truth_and_seen
from kdspark.stages.runner import Runner
from kdspark.workspace import read_json


def measure_stored(runner: Runner, storages: Sequence[Storage]) -> list[dict[str, Any]]:
    """One row per storage of a night's trained student: bytes of the model's files, and means over the test users.

    Args:
        runner: of a night whose student is trained.
    """
    trained = runner.output(student.name("train")) / student.MODEL
    facts = read_json(trained / "training.json")
    rows = []
    for storage in storages:
        scratch = runner.night.workspace.root / "stored" / f"{runner.key(student.name('train'))[:20]}-{storage}"
        shutil.rmtree(scratch, ignore_errors=True)
        model = scratch / student.MODEL
        shutil.copytree(trained, model)
        store_as(model, storage)
        rows.append(
            {
                "storage": storage,
                "metrics": _metrics(runner, model, scratch),
                "params": facts["params"],
                "bytes": folder_bytes(model),
                "seconds": facts["seconds"],
                "epoch_seconds": mean(row["seconds"] for row in facts["curve"]),
            }
        )
    return rows


def _metrics(runner: Runner, model: Path, scratch: Path) -> dict[str, float]:
    """Those of the tail are named `recall_tail@20`."""
    config, spark = runner.night.config, runner.night.spark
    prepared = Prepared(runner.output(prepare.NAME))
    bundle, catalogue = scratch / student.SERVING, scratch / "catalogue.npz"
    catalogue_of(prepared, config.evaluation.head_share).save(catalogue)
    serving_bundle(model, prepared.items("train"), prepared.items("train"), bundle)
    scoring, ks = config.scoring, config.evaluation.ks
    truth, seen = truth_and_seen(spark, prepared, scoring.exclude_seen)
    users = read_table(spark, prepared.users("train")).join(truth.select(tables.USER_IDX), tables.USER_IDX, "left_semi")
    ranked, _ = rank_users(users, seen, bundle, max(ks), scoring.batch_size, scoring.memory_mib)
    per_user = per_user_metrics(ranked, truth, ks, catalogue)
    tails = {name: tail_name(name.removeprefix(f"{TAIL}:")) for name in slice_metric_names(ks)[TAIL]}
    names = {name: tails.get(name, name) for name in per_user.columns if name != tables.USER_IDX}
    means = per_user.agg(*(F.avg(f"`{name}`").alias(shown) for name, shown in names.items())).first()
    assert means is not None
    return {shown: float(means[shown]) for shown in names.values() if means[shown] is not None}


def tail_name(metric: str) -> str:
    """What a metric is called where it counts the least popular items alone."""
    name, k = metric.split("@")
    return f"{name}_tail@{k}"
