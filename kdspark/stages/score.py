"""score: the student's top-k list of every user, from every event before the night's end, staged as Parquet."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.recommending import recommend
from kdspark.bridge.rules import ShippedRules, compile_rules
from kdspark.bridge.shipping import ship_ids
from kdspark.config import Config, ScoringConfig
from kdspark.spark.histories import read_seen
from kdspark.spark.io import count_rows, read_table, write_table
from kdspark.spark.sources import SourceFile, list_files
from kdspark.spark.user_files import write_beside
from kdspark.stages import prepare, student
from kdspark.stages.stage import Night, Outcome, Stage, Task
from kdspark.workspace import read_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NAME = "score"
_USERS_PER_TASK = 10_000  # at least, where files need fewer tasks than there are cores
TABLE = "recommendations"


def stage(config: Config) -> Stage:
    """The scoring stage: it uses the refitted student if there is one."""
    model = student.name("full" if config.refit else "train")
    return Stage(NAME, "score", (prepare.NAME, model), _settings, lambda task: _build(task, model))


def _settings(night: Night) -> dict[str, Any]:
    config = night.config.scoring
    settings: dict[str, Any] = {
        "scoring": config.model_dump(mode="json", exclude={"rules"} if config.rules is None else None),
        "date": night.date.isoformat(),
    }
    if config.rules is not None:
        found = {key: list_files(night.spark, source) for key, source in config.rules.tables.items()}
        settings["files"] = {key: [asdict(file) for file in files] for key, files in found.items()}
    return settings


def _build(task: Task, model: str) -> Outcome:
    config, spark = task.night.config.scoring, task.night.spark
    prepared = task.inputs[prepare.NAME]
    bundle = serving_bundle(
        task.inputs[model] / "model",
        items=prepared / "items_full",
        trained_items=prepared / ("items_full" if task.night.config.refit else "items_train"),
        out=task.out / "serving",
    )
    scratch, rules = task.out / "scratch", None
    if config.rules is not None:
        files = {key: [SourceFile(**file) for file in found] for key, found in task.settings["files"].items()}
        events_N, folder = Prepared(prepared).events_of_items("full"), scratch / "tables"
        rules = compile_rules(spark, config.rules, files, prepared, events_N, task.night.end_us, folder)
    found = recommendations(spark, Prepared(prepared), bundle, config, scratch, rules)
    version = str(read_json(bundle / "model.json")["sha256"])[:16]
    lists = found.withColumns(
        {tables.RUN_DATE: F.to_date(F.lit(task.night.date.isoformat())), tables.MODEL_VERSION: F.lit(version)}
    )
    if config.layout == "lists":
        some = lists.filter(F.size(tables.ITEMS) > 0)  # who has nothing left to see is in neither layout
        most = max(1, config.rows_per_file // config.k)
        written = write_table(some, "recommendation_lists", task.out / TABLE, most)
    else:
        written = write_table(as_rows(lists), TABLE, task.out / TABLE, config.rows_per_file)
    shutil.rmtree(scratch, ignore_errors=True)
    return Outcome(
        rows={TABLE: written, "users": count_rows(prepared / "users_full")}, facts={"model": model, "version": version}
    )


def recommendations(
    spark: "SparkSession",
    prepared: Prepared,
    bundle: Path,
    config: ScoringConfig,
    scratch: Path,
    rules: ShippedRules | None = None,
) -> "DataFrame":
    """(user_id, items) of every user, as `recommend` returns them.

    Args:
        bundle: a serving bundle, to which a file with the items' ids is added.
        scratch: folder for what the result reads beside the users' table; must outlive it.
    """
    users = prepared.users("full")
    n_users = count_rows(users)
    seen, in_history = _seen(spark, prepared) if config.exclude_seen else (None, False)
    frames = {"seen": seen, "rules": rules.by_user if rules else None}
    beside = [write_beside(frame, users, scratch / name) for name, frame in frames.items() if frame is not None]
    ids = ship_ids(spark, prepared.folder / "item_ids", tables.ITEM_IDX, tables.ITEM_ID, bundle)
    files = -(-n_users * config.k // config.rows_per_file)
    tasks = max(1, files, min(spark.sparkContext.defaultParallelism, n_users // _USERS_PER_TASK))
    return recommend(spark, users, beside, bundle, ids, config, tasks, in_history, rules.names if rules else None)


def _seen(spark: "SparkSession", prepared: Prepared) -> tuple["DataFrame | None", bool]:
    """(user_idx, seen INT), what users saw, and whether what histories name is to be added: few did more than fits."""
    if prepared.seen != prepared.interactions:  # a filter left out what they saw as well
        pairs = read_table(spark, prepared.seen)
        return pairs.select(tables.USER_IDX, F.col(tables.ITEM_IDX).alias(tables.SEEN)), False
    users = read_table(spark, prepared.users("full"))
    most = users.agg(F.max(tables.N_EVENTS).alias("events")).first()
    one = users.select(F.size(tables.HISTORY).alias("places")).first()  # as many for all
    if most is None or one is None or (most["events"] or 0) <= one["places"]:
        return None, True
    seen = read_seen(spark, prepared.interactions, beyond=one["places"])
    return seen.select(tables.USER_IDX, F.explode(tables.SEEN).alias(tables.SEEN)), True


def as_rows(lists: "DataFrame") -> "DataFrame":
    """Table "recommendations", one row per user and rank, of table "recommendation_lists"."""
    placed = F.posexplode(tables.ITEMS).alias("place", "item")
    ranked = lists.select(*(name for name in lists.columns if name != tables.ITEMS), placed)
    return ranked.select("*", (F.col("place") + 1).alias(tables.RANK), "item.*")
