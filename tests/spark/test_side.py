"""Static features, by hand: leak-free, and strict about types."""

import pytest

from kdspark import tables
from kdspark.config import FeaturesConfig, SideTableConfig
from kdspark.errors import InputError
from kdspark.spark.numbers import Scale
from kdspark.spark.side import build_static
from tests.spark.logs import parquet, side_rows

SCHEMA = "item STRING, brand STRING, tags ARRAY<STRING>, price DOUBLE, image ARRAY<DOUBLE>"
ROWS = [
    ("a", "Acme", ["x", "y", "x"], 1.0, [1.0, 2.0]),
    ("b", None, [], 3.0, None),
    ("c", "Only later", ["z"], None, [3.0, 4.0]),
    ("d", "Acme", None, 1e30, [5.0, 6.0]),
]
FEATURES = FeaturesConfig(max_values=2)


def config(source, **features):
    wanted = {"categorical": ["brand"], "multi_valued": {"tags": ""}, "numeric": ["price"], "dense": ["image"]}
    return SideTableConfig(**source.model_dump(), id="item", **(features or wanted))


@pytest.fixture
def built(spark, tmp_path):
    def build(rows, previous=None, name="side"):
        side = config(parquet(tmp_path / name, spark.createDataFrame(rows, SCHEMA)))
        frame = side_rows(spark, side, tmp_path / f"{name}-scratch")
        ids = sorted({row[0] for row in rows} | {"nowhere"})
        vocabulary = spark.createDataFrame(list(enumerate(ids)), f"{tables.ITEM_IDX} INT, {tables.ITEM_ID} STRING")
        trained = vocabulary.filter(vocabulary[tables.ITEM_ID].isin("a", "b", "nowhere")).select(tables.ITEM_IDX)
        return build_static(frame, side, FEATURES, vocabulary, trained, previous, lambda codes: codes)

    return build


def dictionary(static):
    return {(row[tables.COLUMN], row[tables.VALUE]): row[tables.CODE] for row in static.codes.collect()}


def test_encoded_by_hand_with_what_only_the_future_holds_unknown(built):
    static = built(ROWS)
    code = dictionary(static)
    assert set(code) == {("brand", "Acme"), ("brand", ""), ("tags", "x"), ("tags", "y"), ("tags", "")}
    assert sorted(code.values()) == [1, 2, 3, 4, 5]
    assert static.n_codes == 6
    assert static.widths == {tables.CODES: 3, tables.NUMBERS: 2, tables.VECTOR: 2}
    assert static.scales == {"price": Scale(2.0, 1.0)}
    rows = {row[tables.ITEM_ID]: row for row in static.table.collect()}
    no_brand, no_tags = code["brand", ""], [code["tags", ""], 0]
    tags = sorted([code["tags", "x"], code["tags", "y"]])
    assert rows["a"][tables.CODES] == [code["brand", "Acme"], *tags]
    assert rows["b"][tables.CODES] == [no_brand, *no_tags]
    assert rows["c"][tables.CODES] == [no_brand, *no_tags]
    assert rows["nowhere"][tables.CODES] == [0, 0, 0]  # no row at all: nothing is known, not even "unknown"
    numbers = {name: row[tables.NUMBERS] for name, row in rows.items()}
    assert numbers == {"a": [-1, 0], "b": [1, 0], "c": [0, 1], "d": [100, 0], "nowhere": [0, 1]}
    assert rows["c"][tables.VECTOR] == [3.0, 4.0]
    assert rows["b"][tables.VECTOR] == [0.0, 0.0]


def test_codes_stay_from_night_to_night(built):
    known = built(ROWS).codes.localCheckpoint()  # as a night would read it: from disk
    before = {(row[tables.COLUMN], row[tables.VALUE]): row[tables.CODE] for row in known.collect()}
    after = dictionary(built([("a", "New", ["x", "w"], 1.0, [1.0, 2.0]), *ROWS[1:]], known, "next"))
    assert {key: after[key] for key in before} == before
    assert {after["brand", "New"], after["tags", "w"]} == {6, 7}


def test_vectors_are_checked_beyond_the_trained_entities(built):
    with pytest.raises(InputError, match="'image' has vectors of 1 to 2 entries"):
        built([*ROWS, ("e", "Acme", [], 1.0, [1.0])])
