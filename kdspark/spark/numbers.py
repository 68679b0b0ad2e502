"""Numbers of a side table: scales fitted on train entities, scaled numbers with missing flags, dense vectors."""

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from kdspark.config import SideTableConfig
from kdspark.errors import InputError
from kdspark.spark.sources import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

log = logging.getLogger("kdspark")

FILE = "_kdspark_file"
"""Column of the rows for `check_numbers`: the file that a row came from."""
_DIGITS = 7  # sums of doubles depend on their order in the last bits
_LETTERS = 40  # of a value in a message
_MOST = 100.0  # scaled numbers are cut off here: one absurd price must not make a model's output infinite


@dataclass(frozen=True)
class Scale:
    """z = (x - mean) / deviation."""

    mean: float
    deviation: float


def check_numbers(rows: "DataFrame", config: SideTableConfig, most: float, quote: bool = True) -> None:
    """Count what the numeric columns hold that is neither a number nor missing; it counts as missing, with a warning.

    Null, blank text and NaN, which is how pandas writes null, are missing.

    Args:
        rows: the feature columns, and `FILE`.
        most: share of a column's given values above which the night fails.
        quote: whether messages may quote a value; where columns are mixed up, it may be anything.

    Raises:
        InputError: naming the column, its file and a value.
    """
    if not config.numeric:
        return
    row = rows.agg(*[part for index, name in enumerate(config.numeric) for part in _strays(index, name)]).first()
    assert row is not None
    for index, name in enumerate(config.numeric):
        given, stray, example = row[f"given{index}"], row[f"stray{index}"], row[f"example{index}"]
        if not stray:
            continue
        such_as = f"such as {example['value'][:_LETTERS]!r} in" if quote else "one of them in"
        problem = (
            f"{', '.join(config.paths)}: {stray:,} of {given:,} values of column {name!r} (`numeric`) are no finite "
            f"numbers, {such_as} {example[FILE]}"
        )
        if stray > most * given:
            raise InputError(
                f"{problem}.",
                "Correct the export (leave missing values empty), make the column `categorical`, or raise "
                "`data.filters.max_bad_fraction`.",
            )
        log.warning("%-14s %s; they count as missing", "numbers", problem)


def fit_scales(fitted_on: "DataFrame", config: SideTableConfig) -> dict[str, Scale]:
    """Numeric column -> scale, from the entities with train events.

    Raises:
        InputError: a column has values, but none of them is a finite number.
    """
    if not config.numeric:
        return {}
    scales = {}
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
    return scales


def fit_lengths(everyone: "DataFrame", config: SideTableConfig) -> dict[str, int]:
    """Dense column -> length of its vectors.

    Raises:
        InputError: a column's vectors differ in length, or hold null or non-finite values.
    """
    if not config.dense:
        return {}
    lengths = {}
    row = everyone.agg(*_vector_checks(config)).first()
    assert row is not None
    for index, name in enumerate(config.dense):
        lengths[name] = _vector_length(config, name, row[f"least{index}"], row[f"most{index}"], row[f"bad{index}"])
    return lengths


def number_array(config: SideTableConfig, scales: dict[str, Scale]) -> "Column":
    """Scaled numbers (0 where missing), followed by as many flags (1 where missing)."""
    scaled = [F.coalesce(_scaled(_finite(name), scales[name]), F.lit(0.0)) for name in config.numeric]
    flags = [F.when(_finite(name).isNull(), 1.0).otherwise(0.0) for name in config.numeric]
    return F.array(*scaled, *flags).cast("array<float>")


def vector_array(config: SideTableConfig, lengths: dict[str, int]) -> "Column":
    """The dense columns, one after the other; a missing vector is all 0."""
    if not config.dense:
        return F.array().cast("array<float>")
    parts = [
        F.coalesce(quoted(name).cast("array<float>"), F.array_repeat(F.lit(0.0).cast("float"), lengths[name]))
        for name in config.dense
    ]
    return F.concat(*parts)


def scale_of(mean: float | None, deviation: float | None) -> Scale:
    """A scale from aggregates, rounded to significant digits so that it does not depend on the order of summation."""
    centre, spread = float(mean or 0.0), float(deviation or 0.0)
    if spread <= abs(centre) * 10**-_DIGITS:  # all values equal, but for the error of summation
        spread = 0.0
    size = max(abs(centre), spread)
    digits = _DIGITS - 1 - math.floor(math.log10(size)) if size > 0 else 0
    return Scale(round(centre, digits), round(spread, digits) if spread > 0 else 1.0)


def _strays(index: int, name: str) -> list["Column"]:
    """How many values of a column are given, how many of them are no numbers, and the first of those."""
    text = quoted(name).cast("string")
    given = text.isNotNull() & (F.trim(text) != "") & ~F.isnan(quoted(name).try_cast("double"))
    stray = given & _finite(name).isNull()
    example = F.min(F.when(stray, F.struct(FILE, text.alias("value"))))
    return [
        F.count_if(given).alias(f"given{index}"),
        F.count_if(stray).alias(f"stray{index}"),
        example.alias(f"example{index}"),
    ]


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


def _scaled(value: "Column", scale: Scale) -> "Column":
    z = (value - scale.mean) / scale.deviation  # null stays null: the comparisons below are then null too
    return F.when(z > _MOST, _MOST).when(z < -_MOST, -_MOST).otherwise(z)
