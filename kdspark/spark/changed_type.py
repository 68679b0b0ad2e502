"""A column that changed its type: which two Parquet files do not fit together.

Spark says which schemas do not merge, but not whose they are. So the files are halved until one of each is left: a
few jobs for every doubling of their number, which read each footer about four times more, wherever the files lie. Of
very many files an evenly spaced sample has to do: types change from one day on more often than in a single file.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql.types import ArrayType, DataType, DecimalType, MapType, StructType

from kdspark.errors import InputError
from kdspark.spark.io import literal

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MOST_FILES = 10_000
_MOST_LETTERS = 80  # of a type
_SchemaOf = Callable[[list[str]], StructType]


def changed_type(spark: "SparkSession", paths: list[str]) -> InputError | None:
    """Name a column and two files that give it types which do not go together.

    Args:
        paths: Parquet files, as Hadoop spells them, that Spark failed to read as one table.

    Returns:
        The error to raise, or None if the files cannot be read for another reason, or the sample agrees.
    """

    def schema_of(part: list[str]) -> StructType:
        return spark.read.options(mergeSchema=True).parquet(*map(literal, part)).schema

    halves = _good_halves(schema_of, paths[:: -(-len(paths) // _MOST_FILES)])
    if halves is None:
        return None
    left, right = (_types(schema_of(half)) for half in halves)
    for name in left:
        if name in right and not _merge(left[name], right[name]):
            one = _narrow(schema_of, halves[0], name, right[name])
            return _error(schema_of, name, one, _narrow(schema_of, halves[1], name, left[name]))
    return None


def _good_halves(schema_of: _SchemaOf, paths: list[str]) -> tuple[list[str], list[str]] | None:
    """Two lists of files, each of one schema, that together are not; None where a file by itself cannot be read."""
    while len(paths) > 1:
        halves = paths[: len(paths) // 2], paths[len(paths) // 2 :]
        for half in halves:
            try:
                schema_of(half)
            except (PySparkException, Py4JJavaError):
                paths = half
                break
        else:
            return halves
    return None


def _narrow(schema_of: _SchemaOf, paths: list[str], name: str, other: DataType) -> str:
    """One of the files, whose type of a column does not go with another."""
    while len(paths) > 1:
        half = paths[: len(paths) // 2]
        mine = _types(schema_of(half)).get(name)
        paths = half if mine is not None and not _merge(mine, other) else paths[len(paths) // 2 :]
    return paths[0]


def _types(schema: StructType) -> dict[str, DataType]:
    """Lower-case column name -> type, since case does not tell names apart in Spark."""
    return {field.name.lower(): field.dataType for field in schema.fields}


def _merge(one: DataType, other: DataType) -> bool:
    """Whether Spark reads two files' types of a column as one type."""
    if isinstance(one, StructType) and isinstance(other, StructType):
        mine, theirs = _types(one), _types(other)
        return all(_merge(mine[name], theirs[name]) for name in mine.keys() & theirs.keys())
    if isinstance(one, ArrayType) and isinstance(other, ArrayType):
        return _merge(one.elementType, other.elementType)
    if isinstance(one, MapType) and isinstance(other, MapType):
        return _merge(one.keyType, other.keyType) and _merge(one.valueType, other.valueType)
    if isinstance(one, DecimalType) and isinstance(other, DecimalType):
        return one.scale == other.scale
    return one == other


def _error(schema_of: _SchemaOf, name: str, one: str, other: str) -> InputError:
    fields = [field for path in (one, other) for field in schema_of([path]).fields if field.name.lower() == name]
    here, there = (field.dataType.simpleString() for field in fields)
    return InputError(
        f"{other}: column {fields[1].name!r} is {there[:_MOST_LETTERS]}, but {here[:_MOST_LETTERS]} in {one}.",
        "Export the column with one type in all files, or leave the files that differ out of `paths`.",
    )
