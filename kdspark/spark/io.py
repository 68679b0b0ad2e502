"""Reading and writing kdspark's own tables as Parquet: schemas enforced, rows counted from the footers."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.errors import StageError
from kdspark.spark.footers import spark_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TRAINING_ROWS_PER_FILE = 50_000
_ROW_GROUP_BYTES = 2 << 20  # small row groups shuffle well and bound the trainer's memory


def uri(path: Path) -> str:
    """A local path for Spark, whatever the cluster's default file system is."""
    return f"file://{path.absolute()}"


def literal(path: str) -> str:
    """A path as the glob that matches it alone: Spark expands globs in every path it reads."""
    return re.sub(r"([\\\[\]{}*?])", r"\\\1", path)


def read_table(spark: "SparkSession", folder: Path) -> "DataFrame":
    """Read a table that `write_table` wrote.

    Raises:
        StageError: the folder is not there.
    """
    if not folder.is_dir():
        raise StageError(f"{folder}: table not found.", "Delete the stage's folder and run it again.")
    schema = spark_schema(folder)
    reader = spark.read if schema is None else spark.read.schema(schema)
    return reader.parquet(literal(uri(folder)))


def write_table(frame: "DataFrame", table: str, folder: Path) -> int:
    """Write a frame as Parquet, with exactly the columns and types of its schema.

    Args:
        frame: has at least the table's columns; external ids keep their type.
        table: a key of `tables.SCHEMAS`.
        folder: must not exist.

    Returns:
        Number of rows, from the Parquet footers.

    Raises:
        StageError: the driver does not see what the executors wrote.
    """
    ids = _id_types(frame)
    schema = tables.ddl(table, ids.get(tables.USER_ID, "STRING"), ids.get(tables.ITEM_ID, "STRING"))
    kinds = _types(frame.sparkSession, schema)
    columns = [F.col(name).cast(kinds[name]).alias(name) for name in tables.columns(table)]
    # A submitted session may limit the rows of a file; users whose events lie in two would be two users.
    options = {"parquet.block.size": _ROW_GROUP_BYTES, "maxRecordsPerFile": 0}
    frame.select(*columns).write.options(**options).parquet(uri(folder))
    if not any(folder.glob("*.parquet")):
        raise StageError(
            f"{folder}: the executors wrote nothing that the driver can see.",
            "Give a --root that all nodes share under the same path.",
        )
    return count_rows(folder)


def count_rows(folder: Path) -> int:
    """Rows of a Parquet folder, from its footers alone."""
    return sum(pq.read_metadata(path).num_rows for path in sorted(folder.glob("*.parquet")))


def training_files(rows: int) -> int:
    """Number of Parquet files for this many training rows: fixed by the data alone, never by the cluster."""
    return max(8, -(-rows // _TRAINING_ROWS_PER_FILE))


def _id_types(frame: "DataFrame") -> dict[str, str]:
    """Types of the external ids in a frame."""
    ids = (tables.USER_ID, tables.ITEM_ID)
    return {field.name: field.dataType.simpleString() for field in frame.schema.fields if field.name in ids}


def _types(spark: "SparkSession", schema: str) -> dict[str, str]:
    parsed = spark.createDataFrame([], schema).schema  # type: ignore[type-var]
    return {field.name: field.dataType.simpleString() for field in parsed.fields}
