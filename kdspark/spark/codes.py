"""Categories as numbers: the dictionary "feature_codes", and each row's codes as an array of fixed length.

The dictionary is fitted on the entities with train events. A code, once given, stays: codes of later nights follow.
Code 0 is padding; each column has a code of its own for "unknown".
"""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from kdspark import tables
from kdspark.config import FeaturesConfig, SideTableConfig
from kdspark.spark.ids import extend_vocabulary
from kdspark.spark.sources import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_KEY = "code_key"
_SEPARATOR = "\u0000"
_UNKNOWN = ""  # blank values count as missing, so the empty value is free to stand for "unknown"


def fit_codes(
    fitted_on: "DataFrame",
    config: SideTableConfig,
    features: FeaturesConfig,
    previous: "DataFrame | None",
    idx_name: str,
) -> "DataFrame":
    """The table "feature_codes" of the categorical and multi-valued columns.

    Args:
        fitted_on: (idx_name, feature columns) of the entities with train events.
        previous: an earlier night's "feature_codes": they stay, new ones follow.
    """
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


def find_codes(side: "DataFrame", config: SideTableConfig, codes: "DataFrame", idx_name: str) -> "DataFrame":
    """(idx_name, found): the set of (column, code) of each row of `side` with any known value."""
    values = _values(side, config, idx_name).join(codes, [tables.COLUMN, tables.VALUE])
    return values.groupBy(idx_name).agg(F.collect_set(F.struct(tables.COLUMN, tables.CODE)).alias("found"))


def code_array(config: SideTableConfig, features: FeaturesConfig, codes: "DataFrame") -> "Column":
    """The array of codes from the column `found` of `find_codes`, one block per configured column."""
    unknown = {
        row[tables.COLUMN]: int(row[tables.CODE]) for row in codes.filter(F.col(tables.VALUE) == _UNKNOWN).collect()
    }
    columns = [*config.categorical, *config.multi_valued]
    blocks = [_block(name, unknown[name], 1 if name in config.categorical else features.max_values) for name in columns]
    return F.concat(*blocks).cast("array<int>")


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
