"""What Parquet files of a table say without a Spark job: in their footers, and in a first row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.errors import PySparkException
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType


def spark_schema(folder: Path) -> StructType | None:
    """A table's columns and types, for which Spark would run a job; None where it is for Spark to find them out.

    They are those of Parquet: what Spark itself has noted in the file could name classes to load.
    """
    path = min(folder.glob("*.parquet"), default=None)
    try:
        return None if path is None else from_arrow_schema(pq.read_schema(path))
    except (OSError, pa.ArrowException, PySparkException):
        return None


def largest(folder: Path, column: str) -> Any:
    """The largest value of a column by the footers of a table's files; None where they do not tell."""
    found = []
    for path in sorted(folder.glob("*.parquet")):
        footer = pq.read_metadata(path)
        place = footer.schema.names.index(column)
        for group in range(footer.num_row_groups):
            statistics = footer.row_group(group).column(place).statistics
            if statistics is None or not statistics.has_min_max:
                return None
            found.append(statistics.max)
    return max(found, default=None)


def first_row(folder: Path, column: str) -> Any:
    """A column of any row; None where there is none."""
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(1, columns=[column]):
            return batch.column(0)[0].as_py()
    return None
