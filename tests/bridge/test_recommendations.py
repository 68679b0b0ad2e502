"""What is written is what Spark makes of the same lists, in either layout, in files of bounded size."""

import datetime as dt
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.recommendations import write_recommendations
from kdspark.config import ScoringConfig
from kdspark.spark.io import read_table
from kdspark.spark.user_files import UserPass

DATE, VERSION, USERS, K = dt.date(2024, 2, 29), "0123abc", 300, 7
KINDS: dict[str, Any] = {
    "STRING": lambda number: f"{number}/ä\n",
    "BIGINT": lambda number: number - (1 << 62),
    "DECIMAL(20,0)": lambda number: Decimal(10**19 + number),
    "DATE": lambda number: dt.date(1990, 1, 1) + dt.timedelta(number),
    "TIMESTAMP": lambda number: dt.datetime(1990, 1, 1) + dt.timedelta(microseconds=number),
}
ARROW = {
    "STRING": pa.string(),
    "BIGINT": pa.int64(),
    "DECIMAL(20,0)": pa.decimal128(20),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
}


def lists_of(user: int) -> list[int]:
    """Zero to K items."""
    return [(user * 31 + place * 17) % 1000 for place in range(user % (K + 1))]


def lists(spark: SparkSession, user_kind: str, item_kind: str, tasks: int = 2) -> UserPass:
    """As if found by a model: of users 0 to USERS - 1."""
    user_of, item_of = KINDS[user_kind], KINDS[item_kind]
    item_type = pa.struct([("item_id", ARROW[item_kind]), ("score", pa.float32()), ("reason", pa.string())])
    types = [ARROW[user_kind], pa.list_(item_type)]

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            users = batch.column(0).to_pylist()
            for some in (users[: len(users) // 3], users[len(users) // 3 :]):
                found = [
                    [{"item_id": item_of(item), "score": item / 8, "reason": "model"} for item in lists_of(user)]
                    for user in some
                ]
                columns = [[user_of(user) for user in some], found]
                arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, ["user_id", "items"])

    items = f"ARRAY<STRUCT<item_id: {item_kind},score: FLOAT,reason: STRING>>"
    return UserPass(spark.range(0, USERS, 1, tasks), make, f"user_id {user_kind}, items {items}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["rows", "lists"])
def test_the_table_is_what_spark_makes_of_the_lists(
    spark: SparkSession, tmp_path: Path, layout: str, kind: str
) -> None:
    found = lists(spark, kind, kind)
    written = write_recommendations(found, ScoringConfig(layout=layout, k=K), DATE, VERSION, tmp_path / "out")
    named = found.frame().select(F.lit(DATE).alias("run_date"), "*", F.lit(VERSION).alias("model_version"))
    table, expected = "recommendation_lists", named.filter(F.size("items") > 0)
    if layout == "rows":
        placed = named.select("*", F.posexplode("items").alias("place", "item"))
        table, expected = "recommendations", placed.select("*", (F.col("place") + 1).alias("rank"), "item.*")
    actual = read_table(spark, tmp_path / "out")
    empty = spark.createDataFrame([], tables.ddl(table, kind, kind))  # type: ignore[type-var]
    assert actual.schema.simpleString() == empty.schema.simpleString()
    rows = [tuple(row) for row in expected.select(*actual.columns).collect()]
    assert sorted(map(str, rows)) == sorted(str(tuple(row)) for row in actual.collect())
    assert written == len(rows) > 200


@pytest.mark.parametrize(("layout", "most"), [("rows", 100), ("lists", 100 // K), ("rows", 100_000)])
def test_no_file_has_more_rows_and_no_user_is_torn_from_its_order(
    spark: SparkSession, tmp_path: Path, layout: str, most: int
) -> None:
    config = ScoringConfig(layout=layout, k=K, rows_per_file=100 if most < 1000 else most)
    rows = write_recommendations(lists(spark, "BIGINT", "STRING"), config, DATE, VERSION, tmp_path / "out")
    paths = sorted((tmp_path / "out").iterdir())
    sizes = [pq.read_metadata(path).num_rows for path in paths]
    assert sum(sizes) == rows
    assert max(sizes) <= most
    assert len(sizes) == (2 if most > rows else sum(-(-part // most) for part in parts(layout)))
    users = pa.concat_tables([pq.read_table(path) for path in paths]).column(tables.USER_ID).to_pylist()
    assert users == sorted(users)  # in the order of the files' names, too
    assert all(path.suffix == ".parquet" and not path.name.startswith(".") for path in paths)


def parts(layout: str) -> list[int]:
    """Rows that each of the two tasks writes."""
    halves = range(USERS // 2), range(USERS // 2, USERS)
    return [sum(len(lists_of(user)) if layout == "rows" else bool(lists_of(user)) for user in half) for half in halves]


def test_nobody_has_a_list(spark: SparkSession, tmp_path: Path) -> None:
    found = lists(spark, "BIGINT", "BIGINT")
    nobody = UserPass(found.files.limit(0), found.make, found.schema)
    assert write_recommendations(nobody, ScoringConfig(), DATE, VERSION, tmp_path / "out") == 0
    assert read_table(spark, tmp_path / "out").count() == 0
