"""Keyed hashes in Spark are those of Python's hmac, and their key is in no plan."""

import hashlib
import hmac
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from kdspark.spark.keyed import PSEUDONYM, pseudonym, with_hmac

KEYS = [b"k" * 32, bytes(range(64)), b"longer than a block of SHA-256 " * 4]
IDS = ["", "a", "e\u0301", "\u00e9", "\U0001f980", "a\nb", "../../x", "x" * 300]


@pytest.mark.parametrize("key", KEYS)
def test_text_is_hashed_as_by_hmac(spark: SparkSession, key: bytes) -> None:
    frame = spark.createDataFrame([(text,) for text in [*IDS, None]], "id STRING")
    found = {row.id: row.hash for row in with_hmac(frame, "id", key, "hash").collect()}
    expected = {text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest() for text in IDS}
    assert found == {**expected, None: None}


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_any_text(spark: SparkSession, texts: list[str]) -> None:
    frame = spark.createDataFrame([(text,) for text in texts], "id STRING")
    rows = with_hmac(frame, "id", KEYS[0], "id", PSEUDONYM).collect()
    assert sorted(row.id for row in rows) == sorted(pseudonym(text, KEYS[0]) for text in texts)


def test_numbers_are_hashed_as_text_and_the_key_is_in_no_plan(spark: SparkSession) -> None:
    frame = with_hmac(spark.createDataFrame([(2**53 + 1,), (-7,)], "id BIGINT"), "id", KEYS[0], "hash")
    expected = {
        number: hmac.new(KEYS[0], str(number).encode(), hashlib.sha256).hexdigest() for number in (2**53 + 1, -7)
    }
    assert {row.id: row.hash for row in frame.collect()} == expected
    plans = frame._jdf.queryExecution()  # type: ignore[operator]
    shown = plans.toString() + plans.logical().toJSON() + plans.executedPlan().toJSON()
    inner = bytes(byte ^ 0x36 for byte in KEYS[0])
    for secret in (KEYS[0], inner, json.dumps(list(inner)).encode(), inner.hex().encode()):
        assert secret not in shown.encode()
