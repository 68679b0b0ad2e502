"""kdspark's own tables: schemas enforced, rows counted from footers, any path taken literally."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.errors import StageError
from kdspark.spark.io import count_rows, literal, read_table, training_files, write_table


def test_write_casts_selects_and_counts(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.createDataFrame([(7, "b", 1), (2**40, "a", 0)], "user_id BIGINT, extra STRING, user_idx BIGINT")
    assert write_table(frame, "user_ids", tmp_path / "ids") == 2
    assert count_rows(tmp_path / "ids") == 2
    found = read_table(spark, tmp_path / "ids")
    assert found.schema.simpleString() == "struct<user_idx:int,user_id:bigint>"
    assert sorted(map(tuple, found.collect())) == [(0, 2**40), (1, 7)]


def test_narrowing_that_would_wrap_is_an_error(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.createDataFrame([(2**31, "a")], "user_idx BIGINT, user_id STRING")
    with pytest.raises(Exception, match="CAST_OVERFLOW"):
        write_table(frame, "user_ids", tmp_path / "ids")


@pytest.mark.parametrize("name", ["a[1]", "b{x,y}", "c*", "d e", "ünï"])
def test_paths_are_no_globs(spark: SparkSession, tmp_path: Path, name: str) -> None:
    frame = spark.createDataFrame([(0, "a")], "item_idx INT, item_id STRING")
    write_table(frame, "item_ids", tmp_path / name / "ids")
    assert read_table(spark, tmp_path / name / "ids").count() == 1


def test_missing_table(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="table not found"):
        read_table(spark, tmp_path / "none")


def test_literal_escapes_what_spark_would_expand() -> None:
    assert literal("/a[1]/{b}*?") == r"/a\[1\]/\{b\}\*\?"


def test_layout_depends_on_rows_alone() -> None:
    assert [training_files(rows) for rows in (0, 1, 400_000, 400_001)] == [8, 8, 8, 9]


def test_every_schema_parses(spark: SparkSession) -> None:
    for name in tables.SCHEMAS:
        parsed = spark.createDataFrame([], tables.ddl(name, "BIGINT", "DECIMAL(38,0)")).schema
        assert parsed.names == tables.columns(name)
