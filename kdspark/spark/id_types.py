"""Ids of one file in the type of another's: cast where equal ids stay equal, refused where they might not.

"7" and "007" are two ids as text and one as a number, so text and numbers never meet; whole numbers of any width do.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DecimalType, FractionalType, IntegralType, StringType

from kdspark.errors import InputError
from kdspark.spark.sources import quoted

_LOST = "\ufffd"
"""What decoders put in place of bytes that are no text in the given encoding."""


def check_ids_meet(what: str, found: DataType, wanted: DataType) -> None:
    """Raise InputError if ids of type `found` cannot be compared exactly with the log's, of type `wanted`.

    Args:
        what: file, column and configuration key, to start the message with.
    """
    if found != wanted and not (decimal_places(found) == decimal_places(wanted) is not None):
        here, there = found.simpleString(), wanted.simpleString()
        raise InputError(
            f"{what} is {here}, but {there} in `data.interactions`: equal ids would not meet.",
            f"Export both with one type, such as {there}.",
        )


def id_problem(name: str, found: DataType, wanted: DataType, side: str) -> Column:
    """What is wrong with a row's id, or null.

    Where characters were lost, two ids may have become one, and nobody can tell which rows belong to whom.

    Args:
        name: the column.
        found, wanted: its type, and the one it is cast to.
        side: "user" or "item".
    """
    column = quoted(name)
    missing, garbled = column.isNull(), F.lit(False)
    if isinstance(found, StringType):
        missing = missing | (F.trim(column) == "")
        garbled = ~F.is_valid_utf8(column) | column.contains(_LOST)
    cast = column.try_cast(wanted)
    lost = cast.isNull()
    if isinstance(found, FractionalType) and isinstance(wanted, IntegralType):
        lost = lost | (cast.cast(found) != column)  # a cast cuts off what is behind the point
    return F.coalesce(
        F.when(missing, f"null or blank {side} id"),
        F.when(garbled, f"{side} id is not valid text in its encoding: set `encoding`, or export as UTF-8"),
        F.when(lost, f"{side} id is no {wanted.simpleString()}"),
    )


def decimal_places(kind: DataType) -> int | None:
    """Digits after the point of an exact number, None for any other type."""
    if isinstance(kind, DecimalType):
        return kind.scale
    return 0 if isinstance(kind, IntegralType) else None
