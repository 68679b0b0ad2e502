"""The vocabulary grows and is never renumbered, for ids of any type and any partitioning."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdspark.errors import InputError
from kdspark.spark import ids as module
from kdspark.spark.ids import extend_vocabulary

IDX, ID = "n", "id"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
LONGS = st.integers(-(2**63), 2**63 - 1)


def frame(spark, values, kind, partitions=2):
    return spark.createDataFrame([(value,) for value in values], f"{ID} {kind}").repartition(partitions)


def numbered(vocabulary):
    rows = vocabulary.collect()
    found = {row[ID]: row[IDX] for row in rows}
    assert len(rows) == len(found)
    assert sorted(found.values()) == list(range(len(rows)))
    return found


@pytest.mark.parametrize(("kind", "values"), [("STRING", TEXTS), ("BIGINT", LONGS)])
def test_old_ids_keep_their_numbers_and_new_ones_follow(spark, kind, values):
    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sets(values, max_size=30), st.sets(values, max_size=30))
    def check(first, second):
        was = extend_vocabulary(frame(spark, first, kind), None, IDX, ID).localCheckpoint()
        before = numbered(was)
        after = numbered(extend_vocabulary(frame(spark, second, kind), was, IDX, ID))
        assert set(before) == first
        assert set(after) == first | second
        assert {value: after[value] for value in before} == before

    check()


def test_numbers_do_not_depend_on_partitions_order_or_duplicates(spark):
    values = [f"user-{n}" for n in range(300)]
    found = [
        numbered(extend_vocabulary(frame(spark, given_ids, "STRING", partitions), None, IDX, ID))
        for partitions, given_ids in ((1, values), (3, values[::-1]), (7, values + values))
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("STRING", ["caf\u00e9", "cafe\u0301", "", " ", "a ", "A", "a", "\U0001f3ac", "1", "01"]),
        ("BIGINT", [2**53, 2**53 + 1, -(2**63), 2**63 - 1, 0, -1]),
        ("DECIMAL(38,0)", [Decimal(10**37), Decimal(10**37 + 1), Decimal(-3)]),
        ("DATE", [dt.date(1969, 12, 31), dt.date(1970, 1, 1)]),
    ],
)
def test_ids_of_any_type_stay_exact_and_distinct(spark, kind, values):
    vocabulary = extend_vocabulary(frame(spark, values, kind), None, IDX, ID)
    assert set(numbered(vocabulary)) == set(values)
    assert vocabulary.schema[ID].dataType.simpleString() == kind.lower()
    assert vocabulary.schema[IDX].dataType.simpleString() == "int"


def test_another_type_than_before(spark):
    was = extend_vocabulary(frame(spark, [1], "BIGINT"), None, IDX, ID)
    with pytest.raises(InputError, match="id is string tonight, it was bigint before"):
        extend_vocabulary(frame(spark, ["1"], "STRING"), was, IDX, ID)


def test_more_ids_than_an_index_can_hold(spark, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 3)
    was = extend_vocabulary(frame(spark, ["a", "b"], "STRING"), None, IDX, ID)
    extend_vocabulary(frame(spark, ["c", "a"], "STRING"), was, IDX, ID)
    with pytest.raises(InputError, match="More than 3 different ids"):
        extend_vocabulary(frame(spark, ["c", "d"], "STRING"), was, IDX, ID)


def test_the_digest_of_a_vocabulary_is_of_its_first_ids(spark):
    def digest(values, size, partitions=1):
        table = spark.createDataFrame(list(enumerate(values)), f"{IDX} INT, {ID} STRING").repartition(partitions)
        return module.vocabulary_digest(table, IDX, ID, size)

    assert digest("abcd", 3, 5) == digest("abc", 3) == digest("abcx", 3)
    assert digest("abc", 2) == digest("ab", 3)
    others = [digest("bac", 3), digest("abx", 3), digest("ab", 3), digest("", 3)]
    assert len({digest("abc", 3), *others}) == 5
