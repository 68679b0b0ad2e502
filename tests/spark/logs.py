"""Small logs on disk, and plain views of frames."""

import itertools
import json

from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from kdspark import tables
from kdspark.config import ColumnsConfig, SourceConfig
from kdspark.spark.histories import read_histories
from kdspark.spark.order import by_user
from kdspark.spark.side_table import read_side

END_US = 1_000_000 * 86_400_000_000 // 1000  # day 1000
COLUMNS = ColumnsConfig(user="u", item="i", timestamp="t", timestamp_unit="s")
EVENTS = f"{tables.USER_IDX} INT, {tables.ITEM_IDX} INT, {tables.TS} BIGINT, {tables.WEIGHT} FLOAT"


def csv(path, text, **options):
    path.write_text(text, encoding=options.get("encoding", "UTF-8"))
    return SourceConfig(paths=str(path), format="csv", **options)


def json_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return SourceConfig(paths=str(path), format="json")


def parquet(path, frame):
    frame.write.parquet(str(path))
    return SourceConfig(paths=str(path))


def side_rows(spark, side, scratch, id_name=tables.ITEM_ID):
    """The good rows of a side table whose log has text ids."""
    return read_side(spark, side, id_name, StringType(), 1.0, scratch).rows


def events(spark, rows, partitions=2):
    """(user, item[, ts[, weight]]) rows as indexed events."""
    full = [(*row, *(0, 1.0)[len(row) - 2 :]) for row in rows]
    return spark.createDataFrame(full, EVENTS).repartition(partitions)


class Written:
    """Logs as the table "interactions", each in a folder of its own."""

    def __init__(self, spark, folder):
        self._spark, self._folder, self._names = spark, folder, itertools.count()

    def interactions(self, rows, split=tables.TRAIN, files=3):
        folder = self._folder / f"interactions-{next(self._names)}"
        frame = events(self._spark, rows) if isinstance(rows, list) else rows
        if tables.SPLIT not in frame.columns:
            frame = frame.withColumn(tables.SPLIT, F.lit(split))
        by_user(frame.repartition(files, tables.USER_IDX)).write.parquet(str(folder))
        return folder

    def histories(self, rows, length, files=3, splits=(tables.TRAIN,)):
        return read_histories(self._spark, self.interactions(rows, files=files), splits, length)


def as_set(frame):
    rows = [tuple(row) for row in frame.collect()]
    assert len(rows) == len(set(rows))
    return set(rows)


def tie_hashes(spark, rows):
    """{(user, item): what decides between a user's events of one time}; the smaller hash is the later event."""
    pairs = spark.createDataFrame([(user, item) for user, item, *_ in rows], "u INT, i INT")
    return {(row.u, row.i): row.h for row in pairs.selectExpr("u", "i", "xxhash64(u, i) AS h").collect()}
