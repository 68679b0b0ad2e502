"""Static features from a user or item table: fitting its encoders, encoding the vocabulary.

Codes and scales are fitted on the entities that have train events, and then applied to all: what only the future
holds cannot leak into them. Codes are stable from night to night, like ids.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.config import FeaturesConfig, SideTableConfig
from kdspark.spark.codes import code_array, find_codes, fit_codes
from kdspark.spark.numbers import Scale, fit_lengths, fit_scales, number_array, vector_array

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


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
    write_codes: "Callable[[DataFrame], DataFrame]",
) -> Static:
    """Fit on the trained entities, encode all of the vocabulary; without a side table the arrays are empty.

    Args:
        side: `SideTable.rows`.
        vocabulary: (idx, id).
        trained: (idx) of the entities with train events.
        previous: an earlier night's "feature_codes".
        write_codes: writes table "feature_codes" and reads it again, since it is looked up several times.
    """
    idx_name, id_name = vocabulary.columns
    if side is None or config is None:
        empty = side_free(vocabulary)
        codes = vocabulary.sparkSession.createDataFrame([], tables.ddl("feature_codes"))  # type: ignore[type-var]
        return Static(empty, write_codes(codes), 1, {tables.CODES: 0, tables.NUMBERS: 0, tables.VECTOR: 0}, {})
    described = vocabulary.join(side, id_name).drop(id_name)
    encoders = fit_encoders(described, config, features, trained, previous, idx_name, write_codes)
    encoded = encode_side(described, config, features, encoders, idx_name)
    widths = encoders.widths(config, features)
    joined = vocabulary.join(encoded, idx_name, "left")
    filled = [F.coalesce(F.col(name), value).alias(name) for name, value in _nothing_known(widths).items()]
    table = joined.select(*vocabulary.columns, *filled)
    return Static(table, encoders.codes, encoders.n_codes, widths, encoders.scales)


def _nothing_known(widths: dict[str, int]) -> "dict[str, Column]":
    """Features of an entity without a row in the side table: no codes at all, so that models can tell; numbers flagged
    as missing."""
    half = widths[tables.NUMBERS] // 2
    return {
        tables.CODES: F.array_repeat(F.lit(0), widths[tables.CODES]),
        tables.NUMBERS: F.concat(
            F.array_repeat(F.lit(0.0).cast("float"), half), F.array_repeat(F.lit(1.0).cast("float"), half)
        ),
        tables.VECTOR: F.array_repeat(F.lit(0.0).cast("float"), widths[tables.VECTOR]),
    }


def side_free(vocabulary: "DataFrame") -> "DataFrame":
    """The vocabulary with empty feature arrays."""
    return vocabulary.select(
        "*",
        F.array().cast("array<int>").alias(tables.CODES),
        F.array().cast("array<float>").alias(tables.NUMBERS),
        F.array().cast("array<float>").alias(tables.VECTOR),
    )


def fit_encoders(
    side: "DataFrame",
    config: SideTableConfig,
    features: FeaturesConfig,
    trained: "DataFrame",
    previous: "DataFrame | None",
    idx_name: str,
    write_codes: "Callable[[DataFrame], DataFrame]",
) -> Encoders:
    """Fit codes and scales.

    Args:
        side: (idx_name, feature columns).
        trained: (idx_name) of the entities with train events.
        previous: an earlier night's "feature_codes": they stay, new ones follow.
        write_codes: writes table "feature_codes" and reads it again.
    """
    fitted_on = side.join(trained, idx_name, "left_semi")
    if config.categorical or config.multi_valued:
        codes = write_codes(fit_codes(fitted_on, config, features, previous, idx_name))
    else:
        codes = write_codes(side.sparkSession.createDataFrame([], tables.ddl("feature_codes")))  # type: ignore[type-var]
    scales, lengths = fit_scales(fitted_on, config), fit_lengths(side, config)
    return Encoders(codes, codes.count() + 1, scales, lengths)


def encode_side(
    side: "DataFrame",
    config: SideTableConfig,
    features: FeaturesConfig,
    encoders: Encoders,
    idx_name: str,
) -> "DataFrame":
    """(idx_name, codes, numbers, vector), one row per row of `side`; arrays of fixed length."""
    numbers = number_array(config, encoders.scales)
    vector = vector_array(config, encoders.lengths)
    encoded = side.select(idx_name, numbers.alias(tables.NUMBERS), vector.alias(tables.VECTOR))
    if not (config.categorical or config.multi_valued):
        return encoded.withColumn(tables.CODES, F.array().cast("array<int>"))
    joined = encoded.join(find_codes(side, config, encoders.codes, idx_name), idx_name, "left")
    codes = code_array(config, features, encoders.codes)
    return joined.select(idx_name, codes.alias(tables.CODES), tables.NUMBERS, tables.VECTOR)
