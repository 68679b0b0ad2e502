"""Reading a user or item table: columns and types checked, ids in the log's type, bad rows set apart with reasons."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    FractionalType,
    MapType,
    NumericType,
    StringType,
    StructType,
)

from kdspark import tables
from kdspark.config import SideTableConfig
from kdspark.errors import InputError
from kdspark.spark.id_types import decimal_places, id_problem
from kdspark.spark.io import read_table, uri
from kdspark.spark.nulls import Nulls
from kdspark.spark.numbers import FILE, check_numbers
from kdspark.spark.quarantine import BAD_ROW, check_bad_rows, count_reasons, describe, write_judged
from kdspark.spark.sources import SourceFile, columns_of, list_files, quoted, read_source, require_columns
from kdspark.spark.unreadable import reading_keys
from kdspark.spark.withheld import LEFT_OUT, Withheld

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROW = "row"


@dataclass(frozen=True)
class SideTable:
    """What was read.

    Attributes:
        rows: (user_id or item_id, feature columns by their own names), one row per id.
        quarantine: rows that could not be used, with the columns `BAD_ROW`.
        counts: rows read, good rows, and rows by reason.
        files: what was read, to be pinned in the manifest.
        columns: of the files, with their types.
        nulls: missing values of the id and of every feature.
    """

    rows: "DataFrame"
    quarantine: "DataFrame"
    counts: dict[str, int]
    files: list[SourceFile]
    columns: dict[str, str]
    nulls: Nulls


def read_side(
    spark: "SparkSession",
    side: SideTableConfig,
    id_name: str,
    id_type: DataType,
    max_bad_fraction: float,
    scratch: Path,
    withheld: Withheld | None = None,
) -> SideTable:
    """Read a side table and judge its rows; malformed ones and those whose id is no id of the log's type are left out.

    Args:
        id_name: USER_ID or ITEM_ID.
        id_type: the type of the log's ids.
        max_bad_fraction: share of bad rows, or of a numeric column's values that are no numbers, above which the night
            fails.
        scratch: folder for the rows, beside which another one is made; both must outlive the result.
        withheld: what is left out; it is counted, and is no bad row.

    Raises:
        InputError: a column is missing or mistyped, a file unreadable, too many bad rows or values, or no good row.
    """
    files = list_files(spark, side)
    frame = read_source(spark, side, files)
    features = _features(frame, side)
    _check_types(frame, side, id_type)
    kind = "user" if id_name == tables.USER_ID else "item"
    # Parquet knows no empty struct, and a table may be no more than a list of ids.
    row = F.struct(F.lit(0).alias("v"), *[quoted(name).alias(f"v{index}") for index, name in enumerate(features)])
    values = [quoted(side.id).try_cast(id_type).alias(id_name), row.alias(_ROW)]
    problem = id_problem(side.id, frame.schema[side.id].dataType, id_type, kind)
    judge = None if withheld is None else partial(withheld.judged, types={id_name: id_type})
    watched = [side.id, *features]
    judged = write_judged(frame, values, problem, side, scratch, all_files=True, watched=watched, withheld=judge)
    counts, nulls = _judge(judged, side, features, id_type, max_bad_fraction)
    good = judged.filter(F.col(tables.REASON).isNull())
    named = [F.col(_ROW)[f"v{index}"].alias(name) for index, name in enumerate(features)]
    quote = id_name != tables.USER_ID  # a value in the wrong column may be an id, or a name
    check_numbers(good.select(F.col(tables.SOURCE_FILE).alias(FILE), *named), side, max_bad_fraction, quote)
    once = scratch.with_name(f"{scratch.name}-once")  # read by everything that is fitted on it
    good.groupBy(id_name).agg(F.max(_ROW).alias(_ROW)).write.parquet(uri(once))
    rows = read_table(spark, once).select(id_name, *named)
    bad = judged.filter(F.col(tables.REASON).isNotNull() & ~F.col(tables.REASON).isin(*LEFT_OUT)).select(*BAD_ROW)
    return SideTable(rows, bad, counts, files, columns_of(frame), nulls)


def _features(frame: "DataFrame", side: SideTableConfig) -> list[str]:
    wanted = {
        f"{key}.{name}": name
        for key in ("categorical", "multi_valued", "numeric", "dense")
        for name in getattr(side, key)
    }
    require_columns(frame, {"id": side.id, **wanted}, side)
    return list(dict.fromkeys(wanted.values()))


def _judge(
    judged: "DataFrame", side: SideTableConfig, features: list[str], id_type: DataType, most: float
) -> tuple[dict[str, int], Nulls]:
    by_reason, nulls = count_reasons(judged, [side.id, *features])
    good = by_reason.pop(None, 0)
    left_out = {reason: by_reason.pop(reason) for reason in LEFT_OUT if reason in by_reason}
    bad = {reason: count for reason, count in sorted(by_reason.items()) if reason is not None}
    if not good:
        raise InputError(
            f"{', '.join(side.paths)}: no value of column {side.id!r} is a {id_type.simpleString()}, the type of the "
            f"log's ids ({describe(bad) or 'the table is empty'}).",
            "Name the right id column, or correct the export.",
        )
    total = good + sum(left_out.values()) + sum(bad.values())
    remedy = f"Correct {reading_keys(side, 'the export', 'the id column')}"
    check_bad_rows(judged, bad, total, most, side, f"id {side.id!r}", remedy)
    return {"read": total, "good": good, **left_out, **bad}, nulls


def _check_types(frame: "DataFrame", side: SideTableConfig, id_type: DataType) -> None:
    def plain(kind: DataType) -> bool:
        return not isinstance(kind, ArrayType | MapType | StructType | BinaryType)

    def identity(kind: DataType) -> bool:
        # As text, the id 7 of a column of fractions reads "7.0", and meets no id of the log.
        fraction = isinstance(kind, FractionalType) and decimal_places(kind) != 0
        return plain(kind) and not (fraction and isinstance(id_type, StringType))

    def number(kind: DataType) -> bool:
        return isinstance(kind, NumericType | StringType | BooleanType)

    def values(kind: DataType) -> bool:
        return isinstance(kind, StringType) or (isinstance(kind, ArrayType) and plain(kind.elementType))

    def vector(kind: DataType) -> bool:
        return isinstance(kind, ArrayType) and isinstance(kind.elementType, NumericType)

    checks = (
        ("id", [side.id], identity, f"a plain value that reads as a {id_type.simpleString()}, as the log's ids do"),
        ("categorical", side.categorical, plain, "a plain value"),
        ("multi_valued", side.multi_valued, values, "text or an array of plain values"),
        ("numeric", side.numeric, number, "a number"),
        ("dense", side.dense, vector, "an array of numbers"),
    )
    for key, names, fits, what in checks:
        for name in names:
            kind = frame.schema[name].dataType
            if not fits(kind):
                raise InputError(
                    f"{', '.join(side.paths)}: column {name!r} (`{key}`) is {kind.simpleString()}, not {what}.",
                    "Name another column, or cast it in the export.",
                )
