"""User and item tables as they are read: which rows stay, which are set apart and why, and what stops the night."""

import json
from itertools import count

import pytest
from pyspark.sql.types import DateType, DecimalType, LongType, StringType

from kdspark import tables
from kdspark.config import SideTableConfig
from kdspark.errors import InputError
from kdspark.spark.quarantine import BAD_ROW
from kdspark.spark.side_table import read_side
from tests.spark.logs import csv, json_lines, parquet

BAD_ID = "item id is no bigint"
NULL_ID = "null or blank item id"
MALFORMED = "malformed row"


@pytest.fixture
def read(spark, tmp_path):
    scratch = (tmp_path / f"scratch{n}" for n in count())

    def run(source, id_type=None, most=1.0, **features):
        side = SideTableConfig(**source.model_dump(), id="item", **features)
        return read_side(spark, side, tables.ITEM_ID, id_type or LongType(), most, next(scratch))

    return run


def by_id(found, name):
    rows = found.rows.collect()
    assert len({row[tables.ITEM_ID] for row in rows}) == len(rows)
    return {row[tables.ITEM_ID]: row[name] for row in rows}


def test_csv_rows_that_cannot_be_used_are_left_out_and_kept_with_their_reasons(read, tmp_path):
    text = 'item,price,brand,unused\n1,2,a,-\n 2,x,a,-\n,5,a,-\n" ",5,a,-\nbad,7,a,-\n1,3,a,-\n4,1\n5,1,a,-,-\n'
    found = read(csv(tmp_path / "items.csv", text), numeric=["price"])
    assert by_id(found, "price") == {1: "3", 2: "x"}
    assert found.counts == {"read": 8, "good": 3, BAD_ID: 1, MALFORMED: 2, NULL_ID: 2}
    bad = found.quarantine.collect()
    assert found.quarantine.columns == list(BAD_ROW)
    assert {row[tables.RAW_ROW] for row in bad if row[tables.REASON] == MALFORMED} == {"4,1", "5,1,a,-,-"}
    (text,) = [row[tables.RAW_ROW] for row in bad if row[tables.REASON] == BAD_ID]
    assert json.loads(text) == {"item": "bad", "price": "7", "brand": "a", "unused": "-"}
    assert all(row[tables.SOURCE_FILE].endswith("/items.csv") for row in bad)
    assert [file.path.rsplit("/", 1)[1] for file in found.files] == ["items.csv"]


def test_an_id_that_is_no_text_in_the_encoding(read, tmp_path):
    source = csv(tmp_path / "items.csv", "item,brand\né,a\nè,b\nx,c\n", encoding="ISO-8859-1")
    assert by_id(read(source, StringType(), categorical=["brand"]), "brand") == {"é": "a", "è": "b", "x": "c"}
    found = read(source.model_copy(update={"encoding": "UTF-8"}), StringType(), categorical=["brand"])
    assert by_id(found, "brand") == {"x": "c"}
    assert found.counts["item id is not valid text in its encoding: set `encoding`, or export as UTF-8"] == 2


def test_malformed_json_lines(read, tmp_path):
    source = json_lines(tmp_path / "items.json", [{"item": 1, "brand": "a"}, {"brand": "b"}, {"item": 2}])
    with (tmp_path / "items.json").open("a") as file:
        file.write('{"item": 3, "brand": "c"\n')
    found = read(source, categorical=["brand"])
    assert by_id(found, "brand") == {1: "a", 2: None}
    assert found.counts == {"read": 4, "good": 2, MALFORMED: 1, NULL_ID: 1}


@pytest.mark.parametrize(
    ("values", "id_type", "good", "bad"),
    [
        ("double", LongType(), {1, 2}, 3),  # 1, 2, 2.5, NaN, 1e30
        ("decimal(32,1)", LongType(), {1, 2}, 2),
        ("string", DecimalType(9, 1), {1, 2, 2.5}, 2),
        ("string", StringType(), {"1", "2", "2.5", "NaN", "1e30"}, 0),
    ],
)
def test_an_id_that_a_cast_would_change_is_none(spark, read, tmp_path, values, id_type, good, bad):
    texts = [text for text in ("1", "2", "2.5", "NaN", "1e30") if text != "NaN" or "decimal" not in values]
    union = " UNION ALL ".join(f"SELECT cast('{text}' AS {values}) item" for text in texts)
    found = read(parquet(tmp_path / "items", spark.sql(union)), id_type)
    assert {row[tables.ITEM_ID] for row in found.rows.collect()} == good
    assert found.counts["read"] - found.counts["good"] == bad


def test_fractions_cannot_be_text_ids(spark, read, tmp_path):
    source = parquet(tmp_path / "items", spark.sql("SELECT 7.0D item"))
    with pytest.raises(InputError, match=r"items: column 'item' \(`id`\) is double, not .* reads as a string"):
        read(source, StringType())
    whole = parquet(tmp_path / "whole", spark.sql("SELECT cast(7 AS decimal(20,0)) item"))
    assert [row[tables.ITEM_ID] for row in read(whole, StringType()).rows.collect()] == ["7"]


def test_too_many_bad_rows_name_the_file_and_how_many(read, tmp_path):
    (tmp_path / "side").mkdir()
    csv(tmp_path / "side" / "good.csv", "item\n1\n2\nx\n")
    source = csv(tmp_path / "side" / "worse.csv", "item\n3\n4,4\ny\n")
    source = source.model_copy(update={"paths": [str(tmp_path / "side")]})
    with pytest.raises(InputError) as caught:
        read(source, most=0.49)
    message = str(caught.value)
    assert f"{tmp_path}/side: 3 of 6 rows are bad (2 x {BAD_ID}; 1 x {MALFORMED}; columns: id 'item'; " in message
    assert "2 of them in file:" in message
    assert "/worse.csv)" in message
    assert "data.filters.max_bad_fraction" in message
    assert read(source, most=0.5).counts["good"] == 3


def test_too_many_values_that_are_no_numbers(read, tmp_path):
    source = csv(tmp_path / "items.csv", "item,price,source_file\n1,2,0\n2,abc,0\n3,,0\nbad,abc,0\n")
    with pytest.raises(InputError, match=r"items.csv: 1 of 2 values of column 'price' .* such as 'abc' in file:.*csv"):
        read(source, most=0.4, numeric=["price", "source_file"])
    assert by_id(read(source, most=0.5, numeric=["price"]), "price") == {1: "2", 2: "abc", 3: None}


def test_no_row_with_an_id_of_the_logs_type(read, tmp_path):
    source = csv(tmp_path / "items.csv", "item\n1\nx\n")
    with pytest.raises(InputError, match=r"items\.csv: no value of column 'item' is a date.*2 x item id is no date"):
        read(source, DateType())
    with pytest.raises(InputError, match="the table is empty"):
        read(csv(tmp_path / "none.csv", "item\n"))


@pytest.mark.parametrize(
    ("features", "match"),
    [
        ({"categorical": ["tags"]}, "'tags' .`categorical`. is array<string>, not a plain value"),
        ({"multi_valued": {"price": ","}}, "'price' .`multi_valued`. is double"),
        ({"numeric": ["image"]}, "'image' .`numeric`. is array<double>, not a number"),
        ({"dense": ["price"]}, "'price' .`dense`. is double, not an array of numbers"),
        ({"categorical": ["colour"]}, "no column 'colour' .`categorical.colour`.; there are 'item', 'tags'"),
    ],
)
def test_wrong_columns(spark, read, tmp_path, features, match):
    frame = spark.createDataFrame([], "item STRING, tags ARRAY<STRING>, price DOUBLE, image ARRAY<DOUBLE>")
    with pytest.raises(InputError, match=match):
        read(parquet(tmp_path / "side", frame), **features)
