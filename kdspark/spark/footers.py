"""What Parquet files of a table say without a Spark job: in their footers, and in a first row."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


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
