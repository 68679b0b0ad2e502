"""Scales and vectors: what is refused, and what the order of summation must not change."""

import math

import pytest

from kdspark import tables
from kdspark.config import SideTableConfig
from kdspark.errors import InputError
from kdspark.spark.numbers import (
    FILE,
    Scale,
    check_numbers,
    fit_lengths,
    fit_scales,
    number_array,
    scale_of,
    vector_array,
)

CONFIG = SideTableConfig(paths="side", id="item", numeric=["price"], dense=["image"])
SCHEMA = "price STRING, image ARRAY<DOUBLE>"


def test_text_is_read_as_numbers_and_what_is_none_counts_as_missing(spark):
    rows = [("1", [1.0, 2.0]), (" 3 ", None), ("about 5", [3.0, 4.0]), (None, None), ("1e30", [5.0, 6.0])]
    frame = spark.createDataFrame(rows, SCHEMA)
    scales = fit_scales(frame.limit(4), CONFIG)
    assert scales == {"price": Scale(2.0, 1.0)}
    lengths = fit_lengths(frame, CONFIG)
    assert lengths == {"image": 2}
    arrays = frame.select(
        number_array(CONFIG, scales).alias(tables.NUMBERS), vector_array(CONFIG, lengths).alias(tables.VECTOR)
    ).collect()
    assert [row[tables.NUMBERS] for row in arrays] == [[-1, 0], [1, 0], [0, 1], [0, 1], [100, 0]]
    assert [row[tables.VECTOR] for row in arrays] == [[1, 2], [0, 0], [3, 4], [0, 0], [5, 6]]


def test_vectors_of_different_lengths_and_non_finite_ones(spark):
    rows = [("1", [1.0, 2.0]), ("1", None)]
    with pytest.raises(InputError, match="side: dense column 'image' has vectors of 1 to 2 entries"):
        fit_lengths(spark.createDataFrame([*rows, ("1", [1.0])], SCHEMA), CONFIG)
    with pytest.raises(InputError, match="'image': 1 vectors hold null or non-finite"):
        fit_lengths(spark.createDataFrame([*rows, ("1", [1.0, math.nan])], SCHEMA), CONFIG)


def given(spark, kind, *values):
    return spark.createDataFrame([(f"f{value}", value) for value in values], f"{FILE} STRING, price {kind}")


@pytest.mark.parametrize(
    ("kind", "values", "stray"),
    [
        ("STRING", ["1", " 2.5 ", "1e3", "NaN", "", "  ", None], 0),
        ("STRING", ["1", "2", "free", "abc", None, ""], 2),
        ("STRING", ["1", "2", "3", "1,5"], 1),
        ("DOUBLE", [1.0, 2.0, math.nan, None], 0),
        ("DOUBLE", [1.0, 2.0, math.inf, -math.inf], 2),
        ("BOOLEAN", [True, False], 0),
    ],
)
def test_values_that_are_neither_numbers_nor_missing(spark, caplog, kind, values, stray):
    rows = given(spark, kind, *values)
    check_numbers(rows, CONFIG, 0.5)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == (stray > 0)
    if stray:
        assert f"{stray} of 4 values of column 'price'" in warnings[0]
        with pytest.raises(InputError, match=f"{stray} of 4 values"):
            check_numbers(rows, CONFIG, 0.5 * stray / 4)


def test_too_many_of_them_name_file_column_value_and_remedy(spark):
    with pytest.raises(InputError) as caught:
        check_numbers(given(spark, "STRING", "1", "free", "abc"), CONFIG, 0.5)
    assert str(caught.value) == (
        "side: 2 of 3 values of column 'price' (`numeric`) are no finite numbers, such as 'abc' in fabc. Correct the "
        "export (leave missing values empty), make the column `categorical`, or raise `data.filters.max_bad_fraction`."
    )


def test_a_numeric_column_without_numbers(spark):
    with pytest.raises(InputError, match=r"no value of column 'price' .`numeric`. is a finite number"):
        fit_scales(spark.createDataFrame([("NaN", None), ("many", None)], SCHEMA), CONFIG)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e12])
def test_a_scale_survives_the_error_of_summation(unit):
    mean, deviation = 123456.789 * unit, 54321.9876 * unit
    assert scale_of(mean * (1 + 1e-13), deviation * (1 - 1e-13)) == scale_of(mean, deviation)
    assert scale_of(mean, deviation).mean == pytest.approx(mean, rel=1e-6)
    assert scale_of(mean, mean * 1e-12).deviation == 1.0
    assert scale_of(None, None) == Scale(0.0, 1.0)
