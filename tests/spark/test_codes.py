"""The category dictionary: stable from night to night, and applied by hand."""

import pytest

from kdspark import tables
from kdspark.config import FeaturesConfig, SideTableConfig
from kdspark.spark.codes import code_array, find_codes, fit_codes

CONFIG = SideTableConfig(paths="side", id="item", categorical=["brand"], multi_valued={"tags": "|"})
IDX = tables.ITEM_IDX
SCHEMA = f"{IDX} INT, brand STRING, tags STRING"
ROWS = [(0, "Acme", "x|y|x"), (1, " Acme ", "y"), (2, None, None), (3, " ", "| ")]


@pytest.fixture
def fitted(spark):
    def fit(rows, previous=None, **features):
        frame = spark.createDataFrame(rows, SCHEMA)
        codes = fit_codes(frame, CONFIG, FeaturesConfig(**features), previous, IDX)
        return codes.localCheckpoint()  # as a night would read it: from disk

    return fit


def dictionary(codes):
    return {(row[tables.COLUMN], row[tables.VALUE]): row[tables.CODE] for row in codes.collect()}


def test_codes_stay_from_night_to_night(fitted):
    known = fitted(ROWS)
    before = dictionary(known)
    assert set(before) == {("brand", "Acme"), ("brand", ""), ("tags", "x"), ("tags", "y"), ("tags", "")}
    assert sorted(before.values()) == [1, 2, 3, 4, 5]
    after = dictionary(fitted([(0, "New", "x|w"), *ROWS[2:]], known))
    assert {key: after[key] for key in before} == before
    assert {after["brand", "New"], after["tags", "w"]} == {6, 7}


def test_rare_values_share_the_code_of_unknown(fitted):
    assert set(dictionary(fitted(ROWS, min_code_count=2))) == {("brand", "Acme"), ("brand", ""), ("tags", "")} | {
        ("tags", value) for value in ("x", "y")
    }
    assert set(dictionary(fitted(ROWS, min_code_count=3))) == {("brand", ""), ("tags", "")}


def test_arrays_by_hand_cut_at_max_values(spark, fitted):
    codes = fitted(ROWS)
    code = dictionary(codes)
    frame = spark.createDataFrame([*ROWS, (4, "Other", "z|y"), (5, "acme", "z")], SCHEMA)
    joined = frame.join(find_codes(frame, CONFIG, codes, IDX), IDX, "left")
    arrays = joined.select(IDX, code_array(CONFIG, FeaturesConfig(max_values=1), codes).alias(tables.CODES))
    acme, no_brand, no_tag = code["brand", "Acme"], code["brand", ""], code["tags", ""]
    first, y = min(code["tags", "x"], code["tags", "y"]), code["tags", "y"]
    assert dict(arrays.collect()) == {
        0: [acme, first],
        1: [acme, y],
        2: [no_brand, no_tag],
        3: [no_brand, no_tag],
        4: [no_brand, y],
        5: [no_brand, no_tag],
    }
    wide = joined.select(IDX, code_array(CONFIG, FeaturesConfig(max_values=3), codes).alias(tables.CODES))
    tags = sorted([code["tags", "x"], y])
    assert dict(wide.collect())[0] == [acme, *tags, 0]
