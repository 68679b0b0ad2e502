"""Static features from a user or item table: encoded categories, scaled numbers with missing flags, dense vectors.

Codes and scales are fitted on the entities that have train events, and then applied to all: what only the future
holds cannot leak into them. Codes are stable from night to night, like ids.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    MapType,
    NumericType,
    StringType,
    StructType,
)

from kdspark import tables
from kdspark.config import FeaturesConfig, SideTableConfig
from kdspark.errors import InputError
from kdspark.spark.ids import extend_vocabulary
from kdspark.spark.sources import quoted, read_source, require_columns

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_KEY = "code_key"
_SEPARATOR = "\u0000"
_UNKNOWN = ""  # blank values count as missing, so the empty value is free to stand for "unknown"
_DIGITS = 7  # sums of doubles depend on their order in the last bits
_MOST = 100.0  # scaled numbers are cut off here: one absurd price must not make a model's output infinite


@dataclass(frozen=True)
class Scale:
    """z = (x - mean) / deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Encoders:
    """What was fitted on one side's train entities.

    Attributes:
        codes: table "feature_codes".
        n_codes: size of the code space, padding included.
        scales: numeric column -> scale.
        lengths: dense column -> vector length.
    """

    codes: "DataFrame"
    n_codes: int
    scales: dict[str, Scale]
    lengths: dict[str, int]

    def widths(self, side: SideTableConfig, features: FeaturesConfig) -> dict[str, int]:
        """Lengths of the arrays `codes`, `numbers` and `vector`."""
        codes = len(side.categorical) + features.max_values * len(side.multi_valued)
        return {tables.CODES: codes, tables.NUMBERS: 2 * len(side.numeric), tables.VECTOR: sum(self.lengths.values())}


@dataclass(frozen=True)
class Static:
    """One side's static features for the whole vocabulary.

    Attributes:
        table: (idx, id, codes, numbers, vector), one row per id.
        codes: table "feature_codes".
        n_codes: size of the code space, padding included.
        widths: lengths of `codes`, `numbers` and `vector`.
        scales: what the numbers were scaled by.
    """

    table: "DataFrame"
    codes: "DataFrame"
    n_codes: int
    widths: dict[str, int]
    scales: dict[str, Scale]


def build_static(
    side: "DataFrame | None",
    config: SideTableConfig | None,
    features: FeaturesConfig,
    vocabulary: "DataFrame",
    trained: "DataFrame",
    previous: "DataFrame | None",
) -> Static:
    """Fit on the trained entities, encode all of the vocabulary; without a side table the arrays are empty.

    Args:
        side: what `read_side` returned.
        vocabulary: (idx, id).
        trained: (idx) of the entities with train events.
        previous: an earlier night's "feature_codes".
    """
    idx_name, id_name = vocabulary.columns
    if side is None or config is None:
        empty = side_free(vocabulary)
        codes = vocabulary.sparkSession.createDataFrame([], tables.ddl("feature_codes"))  # type: ignore[type-var]
        return Static(empty, codes, 1, {tables.CODES: 0, tables.NUMBERS: 0, tables.VECTOR: 0}, {})
    everyone = vocabulary.join(side, id_name, "left").drop(id_name)
    encoders = fit_encoders(everyone, config, features, trained, previous, idx_name)
    encoded = encode_side(everyone, config, features, encoders, idx_name)
    table = vocabulary.join(encoded, idx_name)
    return Static(table, encoders.codes, encoders.n_codes, encoders.widths(config, features), encoders.scales)


def side_free(vocabulary: "DataFrame") -> "DataFrame":
    """The vocabulary with empty feature arrays."""
    return vocabulary.select(
        "*",
        F.array().cast("array<int>").alias(tables.CODES),
        F.array().cast("array<float>").alias(tables.NUMBERS),
        F.array().cast("array<float>").alias(tables.VECTOR),
    )


def read_side(spark: "SparkSession", side: SideTableConfig, id_name: str, id_type: str) -> "DataFrame":
    """The side table with its id named `id_name` and cast to the log's id type; one row per id.

    Raises:
        InputError: a column is missing, a file unreadable, or no id fits the log's id type.
    """
    frame = read_source(spark, side)
    wanted = {"id": side.id}
    for key in ("categorical", "multi_valued", "numeric", "dense"):
        wanted |= {f"{key}.{name}": name for name in getattr(side, key)}
    require_columns(frame, wanted, side)
    _check_types(frame, side)
    names = list(dict.fromkeys(name for key, name in wanted.items() if key != "id"))
    values = F.struct(*[quoted(name).alias(f"v{index}") for index, name in enumerate(names)])
    rows = frame.select(quoted(side.id).try_cast(id_type).alias(id_name), values.alias("row"))
    blank = F.trim(F.col(id_name).cast("string")) == ""
    rows = rows.filter(F.col(id_name).isNotNull() & ~blank).groupBy(id_name).agg(F.max("row").alias("row"))
    if rows.isEmpty():
        raise InputError(
            f"{', '.join(side.paths)}: no value of column {side.id!r} is a {id_type}, the type of the log's ids.",
            "Name the right id column.",
        )
    return rows.select(id_name, *[F.col("row")[f"v{index}"].alias(name) for index, name in enumerate(names)])


def _check_types(frame: "DataFrame", side: SideTableConfig) -> None:
    def plain(kind: DataType) -> bool:
        return not isinstance(kind, ArrayType | MapType | StructType | BinaryType)

    def number(kind: DataType) -> bool:
        return isinstance(kind, NumericType | StringType | BooleanType)

    def values(kind: DataType) -> bool:
        return isinstance(kind, StringType) or (isinstance(kind, ArrayType) and plain(kind.elementType))

    def vector(kind: DataType) -> bool:
        return isinstance(kind, ArrayType) and isinstance(kind.elementType, NumericType)

    checks = (
        ("id", [side.id], plain, "a plain value"),
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


def fit_encoders(
    side: "DataFrame",
    config: SideTableConfig,
    features: FeaturesConfig,
    trained: "DataFrame",
    previous: "DataFrame | None",
    idx_name: str,
) -> Encoders:
    """Fit codes and scales.

    Args:
        side: (idx_name, feature columns).
        trained: (idx_name) of the entities with train events.
        previous: an earlier night's "feature_codes": they stay, new ones follow.
    """
    fitted_on = side.join(trained, idx_name, "left_semi")
    columns = [*config.categorical, *config.multi_valued]
    # Small, and read four times: to be counted, joined, looked up and written.
    codes = _fit_codes(fitted_on, config, features, previous, idx_name).persist() if columns else None
    spark = side.sparkSession
    table = codes if codes is not None else spark.createDataFrame([], tables.ddl("feature_codes"))  # type: ignore[type-var]
    scales, lengths = _fit_numbers(fitted_on, side, config)
    return Encoders(table, (table.count() if columns else 0) + 1, scales, lengths)


def encode_side(
    side: "DataFrame",
    config: SideTableConfig,
    features: FeaturesConfig,
    encoders: Encoders,
    idx_name: str,
) -> "DataFrame":
    """(idx_name, codes, numbers, vector), one row per row of `side`; arrays of fixed length."""
    numbers = _numbers(config, encoders.scales)
    vector = _vector(config, encoders.lengths)
    encoded = side.select(idx_name, numbers.alias(tables.NUMBERS), vector.alias(tables.VECTOR))
    columns = [*config.categorical, *config.multi_valued]
    if not columns:
        return encoded.withColumn(tables.CODES, F.array().cast("array<int>"))
    unknown = {
        row[tables.COLUMN]: int(row[tables.CODE])
        for row in encoders.codes.filter(F.col(tables.VALUE) == _UNKNOWN).collect()
    }
    values = _values(side, config, idx_name).join(encoders.codes, [tables.COLUMN, tables.VALUE])
    found = values.groupBy(idx_name).agg(F.collect_set(F.struct(tables.COLUMN, tables.CODE)).alias("found"))
    blocks = [_block(name, unknown[name], 1 if name in config.categorical else features.max_values) for name in columns]
    joined = encoded.join(found, idx_name, "left")
    return joined.select(
        idx_name, F.concat(*blocks).cast("array<int>").alias(tables.CODES), tables.NUMBERS, tables.VECTOR
    )


def _block(column: str, unknown: int, width: int) -> "Column":
    """One column's codes, ascending, cut and padded with 0 to `width`; `unknown` alone where there are none."""
    own = F.filter("found", lambda pair: pair[tables.COLUMN] == column)
    codes = F.array_sort(F.transform(own, lambda pair: pair[tables.CODE]))
    some = F.when(F.col("found").isNotNull() & (F.size(codes) > 0), F.slice(codes, 1, width))
    filled = F.coalesce(some, F.array(F.lit(unknown)))
    return F.concat(filled, F.array_repeat(F.lit(0), F.lit(width) - F.size(filled)))


def _values(side: "DataFrame", config: SideTableConfig, idx_name: str) -> "DataFrame":
    """(idx_name, column, value), one row per non-blank value."""
    per_column: list[Column] = []
    for name in config.categorical:
        per_column.append(F.struct(F.lit(name).alias(tables.COLUMN), F.array(quoted(name).cast("string")).alias("all")))
    for name, separator in config.multi_valued.items():
        if isinstance(side.schema[name].dataType, ArrayType):
            every = quoted(name).cast("array<string>")
        else:
            every = F.split(quoted(name).cast("string"), _literal_regex(separator))
        per_column.append(F.struct(F.lit(name).alias(tables.COLUMN), every.alias("all")))
    exploded = side.select(idx_name, F.explode(F.array(*per_column)).alias("one"))
    return (
        exploded.select(idx_name, F.col("one")[tables.COLUMN].alias(tables.COLUMN), F.explode("one.all").alias("raw"))
        .select(idx_name, tables.COLUMN, F.trim("raw").alias(tables.VALUE))
        .filter(F.col(tables.VALUE) != _UNKNOWN)
    )


def _literal_regex(separator: str) -> str:
    return "\\Q" + separator + "\\E" if separator else "$^"


def _fit_codes(
    fitted_on: "DataFrame",
    config: SideTableConfig,
    features: FeaturesConfig,
    previous: "DataFrame | None",
    idx_name: str,
) -> "DataFrame":
    column, value, code = tables.COLUMN, tables.VALUE, tables.CODE
    counted = _values(fitted_on, config, idx_name).groupBy(column, value).count()
    frequent = counted.filter(F.col("count") >= features.min_code_count)
    unknown = fitted_on.sparkSession.createDataFrame(
        [(name, _UNKNOWN) for name in (*config.categorical, *config.multi_valued)], f"{column} STRING, {value} STRING"
    )
    wanted = frequent.select(column, value).unionByName(unknown)
    keys = wanted.select(F.concat_ws(_SEPARATOR, column, value).alias(_KEY))
    known = None
    if previous is not None:
        known = previous.select((F.col(code) - 1).alias(code), F.concat_ws(_SEPARATOR, column, value).alias(_KEY))
    numbered = extend_vocabulary(keys, known, code, _KEY)
    parts = F.split(_KEY, _SEPARATOR, 2)
    return numbered.select(parts[0].alias(column), parts[1].alias(value), (F.col(code) + 1).alias(code))


def _fit_numbers(
    fitted_on: "DataFrame", everyone: "DataFrame", config: SideTableConfig
) -> tuple[dict[str, Scale], dict[str, int]]:
    scales, lengths = {}, {}
    if config.numeric:
        wanted = []
        for index, name in enumerate(config.numeric):
            wanted += [F.avg(_finite(name)).alias(f"m{index}"), F.stddev_pop(_finite(name)).alias(f"s{index}")]
            wanted += [F.count(_finite(name)).alias(f"n{index}"), F.count(quoted(name)).alias(f"given{index}")]
        row = fitted_on.agg(*wanted).first()
        assert row is not None
        for index, name in enumerate(config.numeric):
            if row[f"given{index}"] and not row[f"n{index}"]:
                raise InputError(
                    f"{', '.join(config.paths)}: no value of column {name!r} (`numeric`) is a finite number.",
                    "Name another column, or make it `categorical`.",
                )
            scales[name] = scale_of(row[f"m{index}"], row[f"s{index}"])
    if config.dense:
        row = everyone.agg(*_vector_checks(config)).first()
        assert row is not None
        for index, name in enumerate(config.dense):
            lengths[name] = _vector_length(config, name, row[f"least{index}"], row[f"most{index}"], row[f"bad{index}"])
    return scales, lengths


def scale_of(mean: float | None, deviation: float | None) -> Scale:
    """A scale from aggregates, rounded to significant digits so that it does not depend on the order of summation."""
    centre, spread = float(mean or 0.0), float(deviation or 0.0)
    if spread <= abs(centre) * 10**-_DIGITS:  # all values equal, but for the error of summation
        spread = 0.0
    size = max(abs(centre), spread)
    digits = _DIGITS - 1 - math.floor(math.log10(size)) if size > 0 else 0
    return Scale(round(centre, digits), round(spread, digits) if spread > 0 else 1.0)


def _vector_checks(config: SideTableConfig) -> list["Column"]:
    checks = []
    for index, name in enumerate(config.dense):
        values = quoted(name).cast("array<double>")
        bad = F.exists(values, lambda x: x.isNull() | F.isnan(x) | (F.abs(x) > 3e38))
        checks += [
            F.min(F.size(values)).alias(f"least{index}"),
            F.max(F.size(values)).alias(f"most{index}"),
            F.sum(F.when(bad, 1).otherwise(0)).alias(f"bad{index}"),
        ]
    return checks


def _vector_length(config: SideTableConfig, name: str, least: Any, most: Any, bad: Any) -> int:
    where = f"{', '.join(config.paths)}: dense column {name!r}"
    if most is None or least != most:
        raise InputError(f"{where} has vectors of {least} to {most} entries.", "Export vectors of one length.")
    if bad:
        raise InputError(f"{where}: {bad:,} vectors hold null or non-finite values.", "Export finite numbers.")
    return int(most)


def _finite(name: str) -> "Column":
    value = quoted(name).try_cast("double")
    return F.when(value.isNotNull() & ~F.isnan(value) & (F.abs(value) < 3e38), value)


def _numbers(config: SideTableConfig, scales: dict[str, Scale]) -> "Column":
    scaled = [F.coalesce(_scaled(_finite(name), scales[name]), F.lit(0.0)) for name in config.numeric]
    flags = [F.when(_finite(name).isNull(), 1.0).otherwise(0.0) for name in config.numeric]
    return F.array(*scaled, *flags).cast("array<float>")


def _scaled(value: "Column", scale: Scale) -> "Column":
    z = (value - scale.mean) / scale.deviation  # null stays null: the comparisons below are then null too
    return F.when(z > _MOST, _MOST).when(z < -_MOST, -_MOST).otherwise(z)


def _vector(config: SideTableConfig, lengths: dict[str, int]) -> "Column":
    if not config.dense:
        return F.array().cast("array<float>")
    parts = [
        F.coalesce(quoted(name).cast("array<float>"), F.array_repeat(F.lit(0.0).cast("float"), lengths[name]))
        for name in config.dense
    ]
    return F.concat(*parts)
