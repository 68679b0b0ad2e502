"""What the footers of a folder of Parquet files tell before it is read: row groups, and which columns are tensors."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdspark.errors import InputError


def row_groups(fs: Any, root: str, path: str, columns: list[str]) -> list[int]:
    """Rows of every row group, in Petastorm's order: files by path, then as in the file.

    Args:
        fs: file system of the folder `root`, which the user knows as `path`.
        columns: integer, boolean or float columns, or lists of them.

    Raises:
        InputError: a Petastorm metadata file (it holds a pickle that would be executed), a file that is no Parquet, a
            column missing or of a type that is no tensor.
    """
    files = []
    for folder, _, names in fs.walk(root):
        if refused := [name for name in names if name.endswith("_metadata")]:
            raise InputError(
                f"{path}: holds {refused[0]}, a metadata file that Petastorm would unpickle, that is, execute.",
                "Delete it, or write the table again with Spark.",
            )
        if not any(_is_hidden(part) and "=" not in part for part in folder[len(root) :].split("/")):
            files += [f"{folder}/{name}" for name in names if not _is_hidden(name)]
    group_rows: list[int] = []
    for file in sorted(files):
        try:
            with fs.open(file, "rb") as handle:
                footer = pq.read_metadata(handle)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: not a readable Parquet file ({error}).", "Delete or replace it.") from error
        _check_columns(file, footer.schema.to_arrow_schema(), columns)
        group_rows += [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    return group_rows


def _is_hidden(name: str) -> bool:
    return name.startswith(("_", ".")) or name.endswith((".crc", "_$folder$"))


def _check_columns(file: str, schema: pa.Schema, columns: list[str]) -> None:
    for name in columns:
        if name not in schema.names:
            raise InputError(f"{file}: column {name!r} is missing.", f"It has: {', '.join(schema.names)}.")
        kind = schema.field(name).type
        kind = kind.value_type if is_list(kind) else kind
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise InputError(f"{file}: column {name!r} is {kind}, which is no tensor.", "Leave it out.")


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists, of any kind."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
