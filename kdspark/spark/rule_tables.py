"""Reading the tables of a shop's rules: every row must be understood, as half a rule may be worse than none.

Ids that the night does not know are no mistake: a list may name what nobody has bought yet. They are counted.
"""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.dataset as ds
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, StringType, TimestampNTZType, TimestampType

from kdspark import tables
from kdspark.config import SourceConfig
from kdspark.errors import InputError
from kdspark.spark.id_types import id_problem
from kdspark.spark.quarantine import write_judged
from kdspark.spark.sources import SourceFile, quoted, read_source, require_columns
from kdspark.spark.withheld import Withheld

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

log = logging.getLogger("kdspark")

_IDS = {"item": tables.ITEM_ID, "user": tables.USER_ID}
_NUMBERS, _NAMES, _TIMES = ("boost", "order"), ("segment", "group"), ("start", "end")
_CLOCK_TYPES = (StringType, TimestampType, TimestampNTZType, DateType)


def read_rule(
    spark: "SparkSession",
    key: str,
    source: SourceConfig,
    files: list[SourceFile],
    id_types: Mapping[str, DataType],
    folder: Path,
    withheld: Withheld | None = None,
) -> "DataFrame":
    """A rule's table, read once: `user_id` and `item_id` in the types of the log, `segment` and `group` as text,
    `boost` and `order` as DOUBLE, `start` and `end` in microseconds since 1970 (null: open).

    Args:
        key: of the configuration, for messages.
        source: any of the tables of `RulesConfig`.
        files: of the source, those to read.
        id_types: USER_ID and ITEM_ID -> the type of the log's ids.
        folder: for the rows, which the result reads from.
        withheld: what is left out.

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
            wanted = id_types[_IDS[name]]
            value, problem = quoted(column).try_cast(wanted), id_problem(column, found, wanted, name)
        else:
            value, problem = _value(name, column, found, source)
        columns.append(value.alias(_IDS.get(name, name)))
        problems.append(problem)
    judge = None if withheld is None else partial(withheld.kept, types=id_types)
    rows = write_judged(frame, columns, F.coalesce(*problems), source, folder, withheld=judge)
    _refuse_bad_rows(folder, key, source)
    return rows.select(*(_IDS.get(name, name) for name in named))


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


def _refuse_bad_rows(folder: Path, key: str, source: SourceConfig) -> None:
    """Without another Spark job: statistics let all row groups without a reason be skipped."""
    bad = ds.dataset(folder).to_table(columns=[tables.REASON], filter=ds.field(tables.REASON).is_valid())
    if bad.num_rows:
        counted = bad.column(tables.REASON).value_counts().to_pylist()
        reasons = ", ".join(sorted(f"{row['counts']:,} x {row['values']}" for row in counted))
        raise InputError(
            f"{', '.join(source.paths)} (`scoring.rules.{key}`): rows that cannot be used: {reasons}.",
            "Correct the table, or the column names in the configuration; a rule is never kept in part.",
        )
