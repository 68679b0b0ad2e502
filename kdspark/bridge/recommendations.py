"""The night's lists as the table that readers see, written where they are made.

Legend: B users of a batch, R rows.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import ArrayType, StructType

from kdspark import tables
from kdspark.config import ScoringConfig
from kdspark.spark.arrow_files import FileLayout, write_from_workers
from kdspark.spark.user_files import UserPass

_GROUP_ROWS = 1 << 17  # of items in lists
_CONSTANT = (tables.RUN_DATE, tables.MODEL_VERSION)
_REPEATED = {
    "rows": (*_CONSTANT, tables.USER_ID, tables.RANK, tables.ITEM_ID, tables.REASON),
    "lists": (*_CONSTANT, *(f"{tables.ITEMS}.list.element.{name}" for name in (tables.ITEM_ID, tables.REASON))),
}


def write_recommendations(lists: UserPass, config: ScoringConfig, date: dt.date, version: str, folder: Path) -> int:
    """Write the lists in the layout of the configuration; who has nothing left to see is in neither.

    Args:
        lists: (user_id, items) of every user, as `recommend` returns them.
        date: of the night.
        version: of the model.
        folder: must not exist; driver and executors see it under this path.

    Returns:
        Number of rows.
    """
    table = "recommendation_lists" if config.layout == "lists" else "recommendations"
    user, items = (field.dataType for field in lists.frame().schema.fields)
    assert isinstance(items, ArrayType)
    assert isinstance(items.elementType, StructType)
    kinds = user.simpleString(), items.elementType[tables.ITEM_ID].dataType.simpleString()
    each = config.k if config.layout == "lists" else 1  # items in a row
    layout = FileLayout(max(1, _GROUP_ROWS // each), max(1, config.rows_per_file // each), _REPEATED[config.layout])
    rows = lists.then(_Rows(date, version, table), tables.ddl(table, *kinds))
    return write_from_workers(rows.files, rows.schema, folder, rows.make, layout)


@dataclass(frozen=True)
class _Rows:
    """Lists (user_id, items) to rows of the table."""

    date: dt.date
    version: str
    table: str

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        names = tables.columns(self.table)
        for batch in batches:
            columns = _lists(batch) if tables.ITEMS in names else _ranks(batch)
            rows = len(columns[tables.USER_ID])
            columns[tables.RUN_DATE] = pa.repeat(pa.scalar(self.date, pa.date32()), rows)
            columns[tables.MODEL_VERSION] = pa.repeat(self.version, rows)
            yield pa.RecordBatch.from_arrays([columns[name] for name in names], names)


def _lists(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    some = batch.filter(pc.greater(pc.list_value_length(batch.column(tables.ITEMS)), 0))
    return {name: some.column(name) for name in (tables.USER_ID, tables.ITEMS)}


def _ranks(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    lists = batch.column(tables.ITEMS)
    lengths_B = np.asarray(pc.list_value_length(lists))
    users_R = np.repeat(np.arange(len(lists)), lengths_B)
    firsts_R = np.repeat(np.cumsum(lengths_B) - lengths_B, lengths_B)
    items = lists.flatten()
    return {
        tables.USER_ID: batch.column(tables.USER_ID).take(pa.array(users_R)),
        tables.RANK: pa.array((np.arange(len(items)) - firsts_R + 1).astype(np.int32)),
        **dict(zip((tables.ITEM_ID, tables.SCORE, tables.REASON), items.flatten(), strict=True)),
    }
