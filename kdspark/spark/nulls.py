"""How often each column in use is null or blank, counted while rows are judged: no pass of its own over the files.

A row carries the numbers of its missing columns as bits, null where nothing is missing, which costs next to nothing on
disk; one sum per column counts them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, FloatType, StringType

from kdspark.spark.sources import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_BITS = 60  # of a BIGINT, that are used
_MISSING = "_missing_"


class Nulls(TypedDict):
    """Rows that were looked at, and the number of missing values by column."""

    rows: int
    missing: dict[str, int]


def mark_missing(frame: "DataFrame", names: Sequence[str]) -> "list[Column]":
    """Columns that `sums_of_missing` read: which of the named ones are null, blank text or NaN."""
    blocks = [names[start : start + _BITS] for start in range(0, len(names), _BITS)]
    return [_bits(frame, block).alias(f"{_MISSING}{place}") for place, block in enumerate(blocks)]


def sums_of_missing(size: int) -> "list[Column]":
    """Aggregates beside which rows are counted: the number of missing values of each of `size` columns, in order."""
    return [
        F.sum(F.coalesce(F.shiftright(F.col(f"{_MISSING}{at // _BITS}"), at % _BITS).bitwiseAND(1), F.lit(0))).alias(
            f"n{at}"
        )
        for at in range(size)
    ]


def together(one: Nulls, other: Nulls) -> Nulls:
    """Of two sets of rows with the same columns."""
    missing = {name: count + other["missing"].get(name, 0) for name, count in one["missing"].items()}
    return {"rows": one["rows"] + other["rows"], "missing": missing}


def since(now: Nulls, before: Nulls | None) -> Nulls:
    """Of the rows that have come since an earlier night, of a log that has only grown; else, and where none has come,
    of all rows: a day on which a column goes missing is a small part of a long log."""
    if before is None or now["missing"].keys() != before["missing"].keys() or now["rows"] <= before["rows"]:
        return now
    missing = {name: count - before["missing"][name] for name, count in now["missing"].items()}
    rows = now["rows"] - before["rows"]
    return {"rows": rows, "missing": missing} if all(0 <= count <= rows for count in missing.values()) else now


def shares(nulls: Mapping[str, Nulls]) -> dict[str, float]:
    """`<input>.<column>` -> share of missing values, of inputs from which a row was read.

    Args:
        nulls: input -> counts.
    """
    return {
        f"{name}.{column}": count / found["rows"]
        for name, found in nulls.items()
        if found["rows"]
        for column, count in found["missing"].items()
    }


def _bits(frame: "DataFrame", names: Sequence[str]) -> "Column":
    total: Any = F.lit(0).cast("bigint")
    for place, name in enumerate(names):
        total = total + F.when(_missing(frame, name), F.lit(1 << place).cast("bigint")).otherwise(F.lit(0))
    return F.when(total != 0, total)


def _missing(frame: "DataFrame", name: str) -> "Column":
    column, kind = quoted(name), frame.schema[name].dataType
    if isinstance(kind, StringType):
        return column.isNull() | (F.trim(column) == "")
    return column.isNull() | F.isnan(column) if isinstance(kind, FloatType | DoubleType) else column.isNull()
