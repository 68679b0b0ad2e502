"""Footers tell what a scan of the table would."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.spark.footers import first_row, largest, spark_schema
from kdspark.spark.io import read_table


def test_of_a_table_that_spark_wrote(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(0, 1000, 1, 3).selectExpr("ARRAY(1, 2) AS before", "CAST((id * 7) % 997 AS INT) AS n", "id")
    frame.write.options(**{"parquet.block.size": 256}).parquet(str(tmp_path / "out"))
    assert largest(tmp_path / "out", "n") == 996
    assert largest(tmp_path / "out", "id") == 999
    assert first_row(tmp_path / "out", "before") == [1, 2]


def test_where_footers_do_not_tell(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "a.parquet")
    assert largest(tmp_path, "n") == 2
    pq.write_table(pa.table({"n": [3, 4]}), tmp_path / "b.parquet", write_statistics=False)
    assert largest(tmp_path, "n") is None
    assert largest(tmp_path / "none", "n") is None
    assert first_row(tmp_path / "none", "n") is None


@pytest.mark.parametrize("ids", [("STRING", "BIGINT"), ("DECIMAL(38,0)", "INT"), ("BINARY", "DOUBLE")])
def test_a_schema_is_what_spark_would_infer(spark: SparkSession, tmp_path: Path, ids: tuple[str, str]) -> None:
    every = [tables.ddl(name, *ids) for name in tables.SCHEMAS]
    for number, ddl in enumerate(["t TIMESTAMP, d DATE, m MAP<STRING, INT>, s STRUCT<a: ARRAY<SMALLINT>>", *every]):
        folder = tmp_path / str(number)
        spark.createDataFrame([], ddl).write.parquet(str(folder))
        assert spark_schema(folder) == spark.read.parquet(str(folder)).schema
        assert read_table(spark, folder).schema == spark_schema(folder)


def test_a_schema_that_is_for_spark_to_find_out(tmp_path: Path) -> None:
    assert spark_schema(tmp_path) is None
    (tmp_path / "a.parquet").write_bytes(b"PAR1, but no more of it")
    assert spark_schema(tmp_path) is None
    pq.write_table(pa.table({"n": pa.array([1], pa.uint64())}), tmp_path / "a.parquet")
    assert spark_schema(tmp_path) is None
