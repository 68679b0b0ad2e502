"""Footers tell what a scan of the table would."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from kdspark.spark.footers import first_row, largest


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
