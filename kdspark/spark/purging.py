"""Tables without some users, rewritten file by file in Arrow: no session, and no more of a file in memory than a row
group.

Files keep their names, their order of rows, and their row groups.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from kdspark.errors import InputError
from kdspark.workspace import link_or_copy


def as_ids(texts: Sequence[str], kind: pa.DataType) -> pa.Array:
    """Ids given as text, in the type of a table's.

    Raises:
        InputError: one of them is none; which, is not said.
    """
    try:
        if pa.types.is_decimal(kind):
            return pa.array([Decimal(text) for text in texts], kind)
        return pa.array(texts, pa.string()).cast(kind)
    except (pa.ArrowException, ValueError, InvalidOperation):
        raise InputError(
            f"An id to erase is no {kind}, the type of the log's user ids.", "Give ids as they are in the log."
        ) from None


def as_texts(ids: pa.Array) -> list[str]:
    """Ids as Spark spells them as text."""
    return [str(value) for value in ids.to_pylist()]


def holds(path: Path, column: str, ids: pa.Array) -> bool:
    """Whether a file has one of these ids in a column."""
    batches = pq.ParquetFile(path).iter_batches(columns=[column])
    return any(pc.any(pc.is_in(batch.column(0), ids)).as_py() for batch in batches)


def column_type(folder: Path, column: str) -> pa.DataType:
    """Of a table's column."""
    return ds.dataset(folder, format="parquet").schema.field(column).type


def copy_without(folder: Path, column: str, ids: pa.Array, out: Path) -> int:
    """Write a table without the rows that have one of these ids in a column; files without any become links.

    Args:
        out: folder; must not exist.

    Returns:
        How many rows were left out.
    """
    out.mkdir(parents=True)
    left_out = 0
    for path in sorted(folder.glob("*.parquet")):
        if holds(path, column, ids):
            left_out += _without(path, column, ids, out / path.name)
        else:
            link_or_copy(path, out / path.name)
    return left_out


def blank(path: Path, column: str, ids: pa.Array, out: Path) -> None:
    """Write a file with null in place of these ids in a column."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    values = table.column(place)
    kept = pc.if_else(pc.is_in(values, ids), pa.scalar(None, values.type), values)
    pq.write_table(table.set_column(place, table.schema.field(place), kept), out, compression="zstd")


def rows_with(folder: Path, column: str, ids: pa.Array, wanted: str) -> list[int]:
    """Values of an integer column in the rows that have one of these ids in another."""
    found = ds.dataset(folder, format="parquet").to_table(columns=[wanted], filter=pc.field(column).isin(ids))
    return [int(value) for value in found.column(0).to_pylist()]


def _without(path: Path, column: str, ids: pa.Array, out: Path) -> int:
    file, left_out = pq.ParquetFile(path), 0
    with pq.ParquetWriter(out, file.schema_arrow, compression="zstd") as writer:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            kept = rows.filter(pc.invert(pc.fill_null(pc.is_in(rows.column(column), ids), False)))
            left_out += rows.num_rows - kept.num_rows
            if kept.num_rows:
                writer.write_table(kept, row_group_size=kept.num_rows)
    return left_out
