"""score: the student's top-k list of every user, from every event before the night's end, staged as Parquet."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.scoring import rank_users, seen_items
from kdspark.config import Config
from kdspark.spark.io import count_rows, read_table, write_table
from kdspark.stages import prepare, student
from kdspark.stages.stage import Night, Outcome, Stage, Task
from kdspark.workspace import read_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NAME = "score"
TABLE = "recommendations"


def stage(config: Config) -> Stage:
    """The scoring stage: it uses the refitted student if there is one."""
    model = student.name("full" if config.refit else "train")
    return Stage(NAME, "score", (prepare.NAME, model), _settings, lambda task: _build(task, model))


def _settings(night: Night) -> object:
    return {"scoring": night.config.scoring.model_dump(mode="json"), "date": night.date.isoformat()}


def _build(task: Task, model: str) -> Outcome:
    config, spark = task.night.config.scoring, task.night.spark
    prepared = task.inputs[prepare.NAME]
    bundle = serving_bundle(
        task.inputs[model] / "model",
        items=prepared / "items_full",
        trained_items=prepared / ("items_full" if task.night.config.refit else "items_train"),
        out=task.out / "serving",
    )
    users = read_table(spark, prepared / "users_full")
    seen = None
    if config.exclude_seen:
        seen = seen_items(read_table(spark, Prepared(prepared).seen))
    ranked, _ = rank_users(users, seen, bundle, config.k, config.batch_size, config.memory_mib)
    version = str(read_json(bundle / "model.json")["sha256"])[:16]
    rows = _long(ranked, users, read_table(spark, prepared / "item_ids"), task.night.date.isoformat(), version)
    spark.conf.set("spark.sql.files.maxRecordsPerFile", config.rows_per_file)
    try:
        written = write_table(rows, TABLE, task.out / TABLE)
    finally:
        spark.conf.unset("spark.sql.files.maxRecordsPerFile")
    return Outcome(
        rows={TABLE: written, "users": count_rows(prepared / "users_full")}, facts={"model": model, "version": version}
    )


def _long(ranked: "DataFrame", users: "DataFrame", item_ids: "DataFrame", date: str, version: str) -> "DataFrame":
    """One row per user and rank, with external ids."""
    pairs = F.posexplode(F.arrays_zip(F.col(tables.ITEMS), F.col(tables.SCORES))).alias("place", "pair")
    return (
        ranked.select(tables.USER_IDX, tables.REASON, pairs)
        .select(
            tables.USER_IDX,
            tables.REASON,
            (F.col("place") + 1).alias(tables.RANK),
            F.col("pair")[tables.ITEMS].alias(tables.ITEM_IDX),
            F.col("pair")[tables.SCORES].alias(tables.SCORE),
        )
        .join(users.select(tables.USER_IDX, tables.USER_ID), tables.USER_IDX)
        .join(item_ids, tables.ITEM_IDX)
        .withColumn(tables.RUN_DATE, F.to_date(F.lit(date)))
        .withColumn(tables.MODEL_VERSION, F.lit(version))
    )
