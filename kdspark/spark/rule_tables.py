"""Reading the tables of a shop's rules: every row must be understood, as half a rule may be worse than none.

Ids that the night does not know are no mistake: a list may name what nobody has bought yet. They are counted.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, StringType, TimestampNTZType, TimestampType

from kdspark import tables
from kdspark.config import SourceConfig
from kdspark.errors import InputError
from kdspark.spark.id_types import id_problem
from kdspark.spark.sources import CORRUPT, SourceFile, quoted, read_source, require_columns

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

log = logging.getLogger("kdspark")

_IDS = {"item": (tables.ITEM_ID, tables.ITEM_IDX), "user": (tables.USER_ID, tables.USER_IDX)}
_NUMBERS, _NAMES, _TIMES = ("boost", "order"), ("segment", "group"), ("start", "end")
_CLOCK_TYPES = (StringType, TimestampType, TimestampNTZType, DateType)


def read_rule(
    spark: "SparkSession", key: str, source: SourceConfig, files: list[SourceFile], ids: "Mapping[str, DataFrame]"
) -> "DataFrame":
    """A rule's table: `item_idx` and `user_idx` where it has these columns (null for unknown ids), `segment` and
    `group` as text, `boost` and `order` as DOUBLE, `start` and `end` in microseconds since 1970 (null: open).

    Args:
        key: of the configuration, for messages.
        source: any of the tables of `RulesConfig`.
        files: of the source, those to read.
        ids: "item" and "user" -> table "item_ids", "user_ids".

    Raises:
        InputError: a column is missing or mistyped, a file unreadable, or a row cannot be used.
    """
    frame = read_source(spark, source, files)
    named = {name: column for name in (*_IDS, *_NAMES, *_NUMBERS, *_TIMES) if (column := getattr(source, name, None))}
    require_columns(frame, {f"scoring.rules.{key}.{name}": column for name, column in named.items()}, source)
    columns, problems = [], []
    for name, column in named.items():
        found = frame.schema[column].dataType
        if name in _IDS:
            wanted = ids[name].schema[_IDS[name][0]].dataType
            value, problem = quoted(column).try_cast(wanted), id_problem(column, found, wanted, name)
        else:
            value, problem = _value(name, column, found, source)
        columns.append(value.alias(_IDS[name][0] if name in _IDS else name))
        problems.append(problem)
    if CORRUPT in frame.columns:
        problems.insert(0, F.when(F.col(CORRUPT).isNotNull(), "malformed row"))
    _refuse_bad_rows(frame, F.coalesce(*problems), key, source)
    rows = frame.select(*columns)
    for name in (name for name in _IDS if name in named):
        rows = rows.join(ids[name], _IDS[name][0], "left").drop(_IDS[name][0])
    return rows


def warn_of_unknown(key: str, source: SourceConfig, side: str, unknown: int, total: int) -> None:
    """Say how many rows name an id that is not in tonight's log."""
    if unknown:
        paths = ", ".join(source.paths)
        log.warning(
            "%-14s scoring.rules.%s: %s of %s rows of %s name %ss that are not in the log",
            *("rules", key, f"{unknown:,}", f"{total:,}", paths, side),
        )


def _value(name: str, column: str, found: DataType, source: SourceConfig) -> "tuple[Column, Column]":
    """A column's value and what is wrong with it."""
    given = quoted(column)
    if name in _NAMES:
        text = given.cast("string")
        return text, F.when(text.isNull() | (F.trim(text) == ""), f"null or blank {name}")
    if name in _NUMBERS:
        number = given.try_cast("double")
        finite = number.isNotNull() & ~F.isnan(number) & (F.abs(number) < 1e30)
        return number, F.when(~finite, f"{name} is no finite number")
    if not isinstance(found, _CLOCK_TYPES):
        raise InputError(
            f"{', '.join(source.paths)}: column {column!r} (`{name}`) is {found.simpleString()}, not a date, a "
            "timestamp or text.",
            "Name another column, or export it as a timestamp.",
        )
    time = F.unix_micros(given.try_cast("timestamp"))
    return time, F.when(given.isNotNull() & time.isNull(), f"{name} is no timestamp")


def _refuse_bad_rows(frame: "DataFrame", problem: "Column", key: str, source: SourceConfig) -> None:
    bad = frame.select(problem.alias("problem")).filter("problem IS NOT NULL").groupBy("problem").count()
    counts = {row["problem"]: int(row["count"]) for row in bad.collect()}
    if counts:
        reasons = ", ".join(f"{count:,} x {reason}" for reason, count in sorted(counts.items()))
        raise InputError(
            f"{', '.join(source.paths)} (`scoring.rules.{key}`): rows that cannot be used: {reasons}.",
            "Correct the table, or the column names in the configuration; a rule is never kept in part.",
        )
