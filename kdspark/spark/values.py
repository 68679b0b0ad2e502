"""The values of an event: its time and its weight as numbers, and what is wrong with them."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import IntegralType

from kdspark.config import ColumnsConfig
from kdspark.spark.sources import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_YEAR_10000_US = 253_402_300_800 * 1_000_000


def timestamp_of(frame: "DataFrame", columns: ColumnsConfig) -> tuple["Column", "Column"]:
    """(ts in microseconds or as the log's ordinal, what is wrong with it)."""
    nothing = F.lit(None).cast("string")
    if columns.timestamp is None:
        return F.lit(None).cast("bigint"), nothing
    column = quoted(columns.timestamp)
    if columns.timestamp_unit == "timestamp":
        ts = F.unix_micros(column.try_cast("timestamp"))
        parsed, inside = ts, (ts >= 0) & (ts < _YEAR_10000_US)
    else:
        whole = isinstance(frame.schema[columns.timestamp].dataType, IntegralType)
        exact = column.cast("bigint") if whole else column.try_cast("decimal(38,6)")  # null for NaN and infinity too
        factor = _MICROSECONDS.get(columns.timestamp_unit, 1)
        limit = 2**62 if columns.timestamp_unit == "ordinal" else _YEAR_10000_US // factor
        least = -limit if columns.timestamp_unit == "ordinal" else 0
        parsed, inside = exact, (exact >= least) & (exact < limit)
        ts = F.when(inside, F.round(exact * factor).cast("bigint"))
    problem = F.coalesce(
        F.when(column.isNull(), "null timestamp"),
        F.when(parsed.isNull(), f"timestamp is not of unit {columns.timestamp_unit}"),
        F.when(~inside, "timestamp out of range"),
    )
    return ts, problem


def weight_of(columns: ColumnsConfig) -> tuple["Column", "Column"]:
    """(weight, what is wrong with it)."""
    if columns.weight is None:
        return F.lit(1.0).cast("float"), F.lit(None).cast("string")
    value = quoted(columns.weight).try_cast("double")
    finite = value.isNotNull() & ~F.isnan(value) & (F.abs(value) < 3e38)
    return F.when(finite, value.cast("float")), F.when(~finite, "null or non-finite weight")
