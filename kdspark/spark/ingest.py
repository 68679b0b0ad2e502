"""From the user's files to clean events: types checked, bad rows set apart with reasons, duplicates and filters.

The raw files are read once: every row is normalised and marked, good or bad, and written to scratch; all else starts
from there, so files that arrive meanwhile change nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    DataType,
    DateType,
    DecimalType,
    IntegralType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from kdspark import tables
from kdspark.config import ColumnsConfig, SourceConfig
from kdspark.errors import InputError, NoRowsError
from kdspark.spark.id_types import check_ids_meet, id_problem
from kdspark.spark.nulls import Nulls, together
from kdspark.spark.quarantine import BAD_ROW, check_bad_rows, count_reasons, write_judged
from kdspark.spark.sources import SourceFile, columns_of, list_files, quoted, read_source, require_columns
from kdspark.spark.unreadable import reading_keys
from kdspark.spark.values import timestamp_of, weight_of
from kdspark.spark.withheld import LEFT_OUT, Withheld

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FUTURE = "after the night's end"
_NAMES = {None: "good", FUTURE: "future"}
"""What is counted under another name than its reason."""
_ID_KEYS = {tables.USER_ID: "user", tables.ITEM_ID: "item"}
_WATCHED = ("user", "item", "timestamp", "weight")
_ID_TYPES = (StringType, IntegralType, DecimalType, DateType)
_CLOCK_TYPES = (StringType, TimestampType, TimestampNTZType, DateType)
_NUMBER_TYPES = (StringType, NumericType)


@dataclass(frozen=True)
class Ingested:
    """What was read.

    Attributes:
        events: (user_id, item_id, ts, weight); ids in their own types, ts as in `kdspark.tables`.
        quarantine: rows that could not be used, with the columns `BAD_ROW`.
        counts: rows read, good rows, and rows by reason.
        files: what was read, to be pinned in the manifest.
        columns: of the files, with their types.
        nulls: missing values of the columns in use, by what they are used for.
        future_from: the first timestamp at or after the night's end, or None.
        id_types: USER_ID and ITEM_ID -> their type in the log; users that have pseudonyms have text in `events`.
    """

    events: "DataFrame"
    quarantine: "DataFrame"
    counts: dict[str, int]
    files: list[SourceFile]
    columns: dict[str, str]
    nulls: Nulls
    future_from: int | None
    id_types: dict[str, DataType]


def read_interactions(
    spark: "SparkSession",
    source: SourceConfig,
    columns: ColumnsConfig,
    end_us: int,
    max_bad_fraction: float,
    scratch: Path,
    optional_clock: bool = False,
    id_types: Mapping[str, DataType] | None = None,
    files: list[SourceFile] | None = None,
    before: Mapping[str, int] | None = None,
    nulls_before: Nulls | None = None,
    withheld: Withheld | None = None,
) -> Ingested:
    """Read, normalise and judge every row of an interaction log.

    Args:
        source: where the files are; `columns` are their column names.
        end_us: end of the night, exclusive; later events are counted, and left out.
        max_bad_fraction: share of bad rows above which the night fails.
        scratch: folder for the normalised rows; must outlive the result.
        optional_clock: timestamp and weight may be missing, as in a provided test file of bare pairs.
        id_types: USER_ID and ITEM_ID -> the type they are to have, that of the log these rows go with. Whole numbers
            are cast (one that does not fit is a bad row); any other difference is an error, since "7" and "007" are
            two ids as text and one as a number.
        files: of the source, those to read; None: all.
        before, nulls_before: `Ingested.counts` and `nulls` of its other files, which were read another night; they are
            part of the share of bad rows, and of the result.
        withheld: what is left out; it is counted, and is no bad row.

    Raises:
        InputError: a missing or mistyped column, unreadable file, too many bad rows.
        NoRowsError: nothing is left.
    """
    files = list_files(spark, source) if files is None else files
    frame = read_source(spark, source, files)
    found = columns_of(frame)
    if optional_clock:
        given = {name: None for name in ("timestamp", "weight") if getattr(columns, name) not in frame.columns}
        columns = columns.model_copy(update=given)
    _check_columns(frame, columns, source)
    ids = {name: frame.schema[getattr(columns, key)].dataType for name, key in _ID_KEYS.items()}
    if id_types is not None:
        for name, key in _ID_KEYS.items():
            what = f"{', '.join(source.paths)}: column {getattr(columns, key)!r} (`data.columns.{key}`)"
            check_ids_meet(what, ids[name], id_types[name])
        ids = dict(id_types)
    watched = {key: name for key in _WATCHED if (name := getattr(columns, key)) is not None}
    rows = _judged(frame, columns, ids, end_us, source, scratch, list(watched.values()), withheld)
    found_by_reason, nulls = count_reasons(rows, list(watched))
    nulls = nulls if nulls_before is None else together(nulls, nulls_before)
    by_reason = Counter({_NAMES.get(reason, reason or ""): count for reason, count in found_by_reason.items()})
    by_reason.update({name: count for name, count in (before or {}).items() if name != "read"})
    good, future = by_reason.pop("good", 0), by_reason.pop("future", 0)
    left_out = {name: by_reason.pop(name) for name in LEFT_OUT if name in by_reason}
    bad_by_reason = dict(sorted(by_reason.items()))
    total = good + future + sum(left_out.values()) + sum(bad_by_reason.values())
    named = f"user {columns.user!r}, item {columns.item!r}, timestamp {columns.timestamp!r}"
    remedy = f"Correct {reading_keys(source, 'the export', 'the columns', '`timestamp_unit`')}"
    check_bad_rows(rows, bad_by_reason, total, max_bad_fraction, source, named, remedy)
    if not good:
        late = f" {future:,} rows lie after the night's end." if future else ""
        raise NoRowsError(
            f"{', '.join(source.paths)}: the log is empty: no usable row.{late}", "Check `paths` and --date."
        )
    bad = rows.filter(F.col(tables.REASON).isNotNull() & ~F.col(tables.REASON).isin(FUTURE, *LEFT_OUT))
    events = rows.filter(F.col(tables.REASON).isNull()).select(tables.USER_ID, tables.ITEM_ID, tables.TS, tables.WEIGHT)
    counts = {"read": total, "good": good, "future": future, **left_out, **bad_by_reason}
    future_from = _future_from(rows) if future else None
    return Ingested(events, bad.select(*BAD_ROW), counts, files, found, nulls, future_from, ids)


def _future_from(rows: "DataFrame") -> int | None:
    row = rows.filter(F.col(tables.REASON) == FUTURE).agg(F.min(tables.TS).alias(tables.TS)).first()
    return None if row is None else row[tables.TS]


def _check_columns(frame: "DataFrame", columns: ColumnsConfig, source: SourceConfig) -> None:
    names = {"data.columns.user": columns.user, "data.columns.item": columns.item}
    if columns.timestamp is not None:
        names["data.columns.timestamp"] = columns.timestamp
    if columns.weight is not None:
        names["data.columns.weight"] = columns.weight
    require_columns(frame, names, source)
    for key in _ID_KEYS.values():
        name = getattr(columns, key)
        kind = frame.schema[name].dataType
        if not isinstance(kind, _ID_TYPES):
            raise InputError(
                f"{', '.join(source.paths)}: column {name!r} (`data.columns.{key}`) is {kind.simpleString()}, no id.",
                "Use a string, integer, decimal or date column, or cast it in the export.",
            )
    unit = columns.timestamp_unit
    kinds = {"timestamp": _CLOCK_TYPES if unit == "timestamp" else _NUMBER_TYPES, "weight": _NUMBER_TYPES}
    for key, allowed in kinds.items():
        name = getattr(columns, key)
        if name is None or isinstance(frame.schema[name].dataType, allowed):
            continue
        found = frame.schema[name].dataType.simpleString()
        needs = f"`timestamp_unit: {unit}` needs" if key == "timestamp" else "it has to be"
        what = "a SQL timestamp, a date or text" if allowed == _CLOCK_TYPES else "a number"
        raise InputError(
            f"{', '.join(source.paths)}: column {name!r} (`data.columns.{key}`) is {found}; {needs} {what}.",
            "Correct the column name or `timestamp_unit`, or cast the column in the export.",
        )


def _judged(
    frame: "DataFrame",
    columns: ColumnsConfig,
    ids: Mapping[str, DataType],
    end_us: int,
    source: SourceConfig,
    scratch: Path,
    watched: list[str],
    withheld: Withheld | None,
) -> "DataFrame":
    ts, ts_problem = timestamp_of(frame, columns)
    weight, weight_problem = weight_of(columns)
    problems = [
        id_problem(name, frame.schema[name].dataType, ids[id_name], key)
        for id_name, key in _ID_KEYS.items()
        for name in [getattr(columns, key)]
    ]
    reason = F.coalesce(
        *problems,
        ts_problem,
        weight_problem,
        F.when(ts >= end_us, FUTURE) if columns.timestamp_unit != "ordinal" else F.lit(None).cast("string"),
    )
    values = [quoted(getattr(columns, key)).try_cast(ids[name]).alias(name) for name, key in _ID_KEYS.items()]
    values += [ts.alias(tables.TS), weight.alias(tables.WEIGHT)]
    judge = None if withheld is None else partial(withheld.judged, types=ids)
    return write_judged(frame, values, reason, source, scratch, watched=watched, withheld=judge)
