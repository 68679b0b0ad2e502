"""score: the student's top-k list of every user, from every event before the night's end, staged as Parquet."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.recommendations import write_recommendations
from kdspark.bridge.recommending import recommend
from kdspark.bridge.rules import ShippedRules, compile_rules
from kdspark.bridge.shipping import ship_ids
from kdspark.config import Config, ScoringConfig
from kdspark.spark.footers import first_row, largest
from kdspark.spark.histories import read_seen
from kdspark.spark.io import count_rows, read_table
from kdspark.spark.sources import SourceFile, list_files
from kdspark.spark.user_files import UserPass, write_beside
from kdspark.stages import prepare, privacy, student
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
    scratch, compiled = task.out / "scratch", None
    if config.rules is not None:
        files = {key: [SourceFile(**file) for file in found] for key, found in task.settings["files"].items()}
        events_N, folder = Prepared(prepared).events_of_items("full"), scratch / "tables"
        withheld = privacy.withheld_of(task.night, read_json(prepared / "manifest.json")["config"]["settings"])
        end_us = task.night.end_us
        compiled = partial(compile_rules, spark, config.rules, files, prepared, events_N, end_us, folder, withheld)
    found = recommendations(spark, Prepared(prepared), bundle, config, scratch, compiled)
    version = str(read_json(bundle / "model.json")["sha256"])[:16]
    written = write_recommendations(found, config, task.night.date, version, task.out / TABLE)
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
    compiled: Callable[[], ShippedRules] | None = None,
) -> UserPass:
    """(user_id, items) of every user, as `recommend` returns them.

    Args:
        bundle: a serving bundle, to which a file with the items' ids is added.
        scratch: folder for what the result reads beside the users' table; must outlive it.
        compiled: the rules, if there are any.
    """
    users = prepared.users("full")
    n_users = count_rows(users)
    seen, in_history = _seen(spark, prepared) if config.exclude_seen else (None, False)
    beside, rules = [], None
    with ThreadPoolExecutor(1) as pool:  # narrow tables, each of which leaves the cluster idle at times
        if seen is not None:
            beside.append(pool.submit(write_beside, seen, users, scratch / "seen"))
        if compiled is not None:
            rules = compiled()
            if rules.by_user is not None:
                beside.append(pool.submit(write_beside, rules.by_user, users, scratch / "rules"))
        ids = ship_ids(spark, prepared.folder / "item_ids", tables.ITEM_IDX, tables.ITEM_ID, bundle)
        written = [future.result() for future in beside]
    files = -(-n_users * config.k // config.rows_per_file)
    tasks = max(1, files, min(spark.sparkContext.defaultParallelism, n_users // _USERS_PER_TASK))
    names = rules.names if rules else None
    return recommend(spark, users, written, bundle, ids, config, tasks, in_history, names)


def _seen(spark: "SparkSession", prepared: Prepared) -> tuple["DataFrame | None", bool]:
    """(user_idx, seen INT), what users saw, and whether what histories name is to be added: few did more than fits."""
    if prepared.seen != prepared.interactions:  # a filter left out what they saw as well
        pairs = read_table(spark, prepared.seen)
        return pairs.select(tables.USER_IDX, F.col(tables.ITEM_IDX).alias(tables.SEEN)), False
    users = prepared.users("full")
    most, places = largest(users, tables.N_EVENTS), first_row(users, tables.HISTORY)
    if most is not None and most <= len(places):  # as many places for all
        return None, True
    seen = read_seen(spark, prepared.interactions, beyond=len(places))
    return seen.select(tables.USER_IDX, F.explode(tables.SEEN).alias(tables.SEEN)), True
