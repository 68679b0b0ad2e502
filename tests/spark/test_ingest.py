"""Clean events and quarantine: every reason a row can be bad for, and every mistake that stops the night."""

import math
from collections import Counter
from decimal import Decimal
from functools import reduce
from itertools import count

import pytest
from pyspark.sql import DataFrame

from kdspark import tables
from kdspark.config import ColumnsConfig, SourceConfig
from kdspark.errors import InputError
from kdspark.spark.ingest import read_interactions
from kdspark.spark.quarantine import BAD_ROW, MALFORMED
from tests.spark.logs import COLUMNS, END_US, csv, json_lines, parquet

END_S = END_US // 1_000_000


@pytest.fixture
def ingest(spark, tmp_path):
    scratch = (tmp_path / f"scratch{n}" for n in count())

    def run(source, columns=COLUMNS, max_bad_fraction=1.0):
        return read_interactions(spark, source, columns, END_US, max_bad_fraction, next(scratch))

    return run


def ids(frame):
    return sorted((row[tables.USER_ID], row[tables.ITEM_ID], row[tables.TS]) for row in frame.collect())


@pytest.mark.parametrize("kind", ["bigint", "int", "smallint"])
def test_whole_numbers_are_judged_as_text_is(spark, ingest, tmp_path, kind):
    times = [10, -1, None, 32_767]
    times += [253_402_300_799, 253_402_300_800, 2**63 - 1, -(2**63)] if kind == "bigint" else []
    rows = [(f"u{place}", "x", time) for place, time in enumerate(times)]
    frame = spark.createDataFrame(rows, "u STRING, i STRING, t BIGINT").selectExpr("u", "i", f"CAST(t AS {kind}) t")
    numbers = ingest(parquet(tmp_path / "numbers", frame))
    text = "u,i,t\n" + "".join(f"{user},{item},{'' if time is None else time}\n" for user, item, time in rows)
    as_text = ingest(csv(tmp_path / "text.csv", text))
    assert ids(numbers.events) == ids(as_text.events)
    assert (numbers.counts, numbers.future_from) == (as_text.counts, as_text.future_from)


def test_every_bad_row_has_its_reason_and_its_text(ingest, tmp_path):
    text = (
        "u,i,t,w\n"
        "ann,x,10,1\n"
        " ,x,10,1\n"
        "bob,,10,1\n"
        "cy,x,,1\n"
        "di,x,soon,1\n"
        "ed,x,NaN,1\n"
        "flo,x,-1,1\n"
        "gus,x,253402300800,1\n"
        "hal,x,10,Infinity\n"
        "ida,x,10,much\n"
        "jo,x\n"
        f"kim,x,{END_S},1\n"
        f"lea,x,{END_S - 1},2.5\n"
    )
    columns = COLUMNS.model_copy(update={"weight": "w"})
    found = ingest(csv(tmp_path / "log.csv", text), columns)
    assert ids(found.events) == [("ann", "x", 10_000_000), ("lea", "x", END_US - 1_000_000)]
    bad = found.quarantine.collect()
    reasons = {
        "null or blank user id": 1,
        "null or blank item id": 1,
        "null timestamp": 1,
        "timestamp is not of unit s": 2,
        "timestamp out of range": 2,
        "null or non-finite weight": 2,
        MALFORMED: 1,
    }
    assert Counter(row[tables.REASON] for row in bad) == reasons
    assert found.counts == {"read": 13, "good": 2, "future": 1, **reasons}
    assert found.future_from == END_US
    assert all(row[tables.SOURCE_FILE].endswith("log.csv") for row in bad)
    assert any('"u":"di"' in row[tables.RAW_ROW] and '"t":"soon"' in row[tables.RAW_ROW] for row in bad)
    assert found.quarantine.columns == list(BAD_ROW)


@pytest.mark.parametrize(
    ("unit", "text", "micros"),
    [
        ("s", "1.5", 1_500_000),
        ("s", "8.81250949e2", 881_250_949),
        ("ms", "1001", 1_001_000),
        ("us", "123456789012", 123_456_789_012),
        ("timestamp", "1970-01-02", 86_400_000_000),
        ("timestamp", "1970-01-02T01:00:00+01:00", 86_400_000_000),
        ("timestamp", "1970-01-01 00:00:00.000001", 1),
        ("ordinal", "-7", -7),
    ],
)
def test_units(ingest, tmp_path, unit, text, micros):
    columns = COLUMNS.model_copy(update={"timestamp_unit": unit})
    found = ingest(csv(tmp_path / "log.csv", f"u,i,t\na,x,{text}\n"), columns)
    assert ids(found.events) == [("a", "x", micros)]


def test_session_time_zone_decides_naive_timestamps_not_the_machines(spark, ingest, tmp_path):
    columns = COLUMNS.model_copy(update={"timestamp_unit": "timestamp"})
    frame = spark.sql("SELECT 'a' u, 1 i, timestamp_ntz'1970-01-02 00:00:00' t")
    found = ingest(parquet(tmp_path / "log", frame), columns)
    assert ids(found.events) == [("a", 1, 86_400_000_000)]


def test_an_ordinal_has_no_end_of_the_night_and_a_log_may_have_no_time(ingest, tmp_path, spark):
    source = csv(tmp_path / "log.csv", f"u,i,t\na,x,{END_US + 5}\n")
    assert ingest(source, COLUMNS.model_copy(update={"timestamp_unit": "ordinal"})).counts["good"] == 1
    found = read_interactions(spark, source, ColumnsConfig(user="u", item="i"), END_US, 0.0, tmp_path / "again")
    assert [tuple(row) for row in found.events.collect()] == [("a", "x", None, 1.0)]


def test_ids_keep_their_types_exactly(spark, ingest, tmp_path):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    frame = spark.createDataFrame([(2**53 + 1, nfc, 1), (-5, nfd, 2)], "u LONG, i STRING, t LONG")
    found = ingest(parquet(tmp_path / "log", frame))
    assert found.events.schema[tables.USER_ID].dataType.simpleString() == "bigint"
    assert ids(found.events) == [(-5, nfd, 2_000_000), (2**53 + 1, nfc, 1_000_000)]


def test_json_lines(ingest, tmp_path):
    rows = [{"u": 1, "i": "x", "t": 5}, {"u": None, "i": "x", "t": 5}, {"i": "y", "t": 5}]
    found = ingest(json_lines(tmp_path / "log.json", rows))
    assert ids(found.events) == [(1, "x", 5_000_000)]
    assert found.counts["null or blank user id"] == 2


LATIN = "user id is not valid text in its encoding: set `encoding`, or export as UTF-8"


@pytest.mark.parametrize(("kind", "reason"), [("csv", LATIN), ("json", MALFORMED)])
def test_ids_in_latin_1_stay_two_ids_with_their_encoding_and_are_bad_without(ingest, tmp_path, kind, reason):
    rows = [("é", "x"), ("è", "y"), ("ann", "z")]
    if kind == "csv":
        text = "u,i,t\r\n" + "".join(f"{user},{item},5\r\n" for user, item in rows)
    else:
        text = "".join(f'{{"u": "{user}", "i": "{item}", "t": 5}}\n' for user, item in rows)
    (tmp_path / "log").write_bytes(text.encode("ISO-8859-1"))
    source = SourceConfig(paths=str(tmp_path / "log"), format=kind)
    found = ingest(source)
    assert ids(found.events) == [("ann", "z", 5_000_000)]
    assert found.counts == {"read": 3, "good": 1, "future": 0, reason: 2}
    assert found.future_from is None
    read = ingest(source.model_copy(update={"encoding": "ISO-8859-1"}))
    assert ids(read.events) == sorted((user, item, 5_000_000) for user, item in rows)
    stops(ingest, source, f"2 of 3 rows are bad .2 x {reason}", most=0.5)


def test_bytes_that_are_no_text_in_a_parquet_file(spark, ingest, tmp_path):
    frame = spark.sql("SELECT cast(X'e9' AS string) u, 'x' i, 5L t UNION ALL SELECT '\u00e9', 'x', 5L")
    found = ingest(parquet(tmp_path / "log", frame))
    assert ids(found.events) == [("é", "x", 5_000_000)]
    assert found.counts[LATIN] == 1


def stops(ingest, source, match, columns=COLUMNS, most=1.0):
    with pytest.raises(InputError, match=match):
        ingest(source, columns, most)


def test_missing_column(ingest, tmp_path):
    stops(ingest, csv(tmp_path / "log.csv", "u,i,when\na,x,1\n"), r"log\.csv: no column 't'.*'when'")


def test_too_many_bad_rows_are_counted_by_reason(ingest, tmp_path):
    source = csv(tmp_path / "log.csv", "u,i,t\na,x,1\nb,x,soon\nc,x,2024-01-01\n,x,1\n")
    stops(ingest, source, r"3 of 4 rows are bad \(2 x timestamp is not of unit s; 1 x null or blank user id", most=0.5)


def test_the_file_with_most_of_the_bad_rows_is_named(ingest, tmp_path):
    (tmp_path / "log").mkdir()
    for name, rows in (("a", "a,x,1\nb,x,-\n"), ("b", ",x,1\nc,x,-\n"), ("c", f"c,x,1\nd,x,{END_S}\ne,x,{END_S}\n")):
        source = csv(tmp_path / "log" / f"{name}.csv", "u,i,t\n" + rows)
    source = source.model_copy(update={"paths": [str(tmp_path / "log")]})
    stops(ingest, source, r"log: 3 of 7 rows are bad .* 2 of them in file:.*/b\.csv\)\. .*max_bad_fraction", most=0.4)
    assert ingest(source, max_bad_fraction=3 / 7).counts["good"] == 2


def test_a_log_with_nothing_usable(ingest, tmp_path):
    stops(ingest, csv(tmp_path / "log.csv", "u,i,t\n"), "the log is empty")


def test_a_log_with_nothing_before_the_end(ingest, tmp_path):
    stops(ingest, csv(tmp_path / "log.csv", f"u,i,t\na,x,{END_S}\n"), "1 rows lie after the night's end")


@pytest.mark.parametrize(
    ("sql", "unit", "match"),
    [
        ("SELECT struct(1) u, 1 i, 1 t", "s", "'u'.*struct.*no id"),
        ("SELECT 1.5D u, 1 i, 1 t", "s", "'u'.*double, no id"),
        ("SELECT 1 u, 1 i, array(1) t", "s", "'t'.*array<int>"),
        ("SELECT 1 u, 1 i, timestamp'2020-01-01' t", "s", "'t'.*timestamp; `timestamp_unit: s` needs a number"),
        ("SELECT 1 u, 1 i, 5L t", "timestamp", "'t'.*bigint; `timestamp_unit: timestamp` needs a SQL timestamp"),
    ],
)
def test_wrong_types(spark, ingest, tmp_path, sql, unit, match):
    columns = COLUMNS.model_copy(update={"timestamp_unit": unit})
    stops(ingest, parquet(tmp_path / "log", spark.sql(sql)), match, columns)


def test_csv_files_with_different_headers(ingest, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "b.csv").write_text("u,t,i\na,1,x\n")
    source = csv(tmp_path / "logs" / "a.csv", "u,i,t\na,x,1\n")
    stops(ingest, source.model_copy(update={"paths": [str(tmp_path / "logs")]}), "not readable as CSV")


def test_non_finite_doubles_in_parquet(spark, ingest, tmp_path):
    rows = [(1, 1, 10.0, 1.0), (2, 1, math.nan, 1.0), (3, 1, math.inf, 1.0), (4, 1, 10.0, math.nan), (5, 1, 10.0, 1e39)]
    frame = spark.createDataFrame(rows, "u LONG, i LONG, t DOUBLE, w DOUBLE")
    found = ingest(parquet(tmp_path / "log", frame), COLUMNS.model_copy(update={"weight": "w"}))
    assert ids(found.events) == [(1, 1, 10_000_000)]
    assert found.counts["null or non-finite weight"] == 2


def provided(spark, tmp_path, train, test):
    """Rows of a provided test file as they come to meet a train file; both are lists of SELECTs."""
    one, other = (
        parquet(tmp_path / name, reduce(DataFrame.union, [spark.sql(f"SELECT {row}, 5L t") for row in rows]))
        for name, rows in (("train", train), ("test", test))
    )
    types = read_interactions(spark, one, COLUMNS, END_US, 1.0, tmp_path / "scratch").id_types
    return read_interactions(spark, other, COLUMNS, END_US, 1.0, tmp_path / "again", id_types=types)


@pytest.mark.parametrize(
    ("train", "test", "kind", "user"),
    [
        ("7L", "7", "bigint", 7),
        ("7", "7L", "int", 7),
        ("7", "cast(7 as decimal(20,0))", "int", 7),
        ("cast(7 as decimal(20,0))", "7", "decimal(20,0)", 7),
        ("cast(7 as decimal(9,2))", "cast(7.5 as decimal(20,2))", "decimal(9,2)", Decimal("7.5")),
    ],
)
def test_whole_number_ids_of_a_provided_file_take_the_train_files_type(spark, tmp_path, train, test, kind, user):
    found = provided(spark, tmp_path, [f"{train} u, 'x' i"], [f"{test} u, 'x' i"])
    assert found.events.schema[tables.USER_ID].dataType.simpleString() == kind
    assert ids(found.events) == [(user, "x", 5_000_000)]


def test_a_provided_id_that_does_not_fit_the_train_files_type_is_a_bad_row(spark, tmp_path):
    found = provided(spark, tmp_path, ["7 u, 'x' i"], ["7L u, 'x' i", f"{2**32 + 7}L u, 'x' i"])
    assert ids(found.events) == [(7, "x", 5_000_000)]
    assert [row[tables.REASON] for row in found.quarantine.collect()] == ["user id is no int"]


@pytest.mark.parametrize(
    ("train", "test", "match"),
    [
        ("'7' u, 'x' i", "7L u, 'x' i", r"test: column 'u' \(`data.columns.user`\) is bigint, but string in"),
        ("7L u, 'x' i", "'7' u, 'x' i", r"test: column 'u' \(`data.columns.user`\) is string, but bigint in"),
        ("7L u, 7 i", "7 u, date'2020-01-01' i", r"test: column 'i' \(`data.columns.item`\) is date, but int in"),
        ("7L u, 7 i", "7 u, cast(7 as decimal(9,2)) i", r"'i'.* is decimal\(9,2\), but int in .*Export both"),
    ],
)
def test_ids_of_a_provided_file_that_could_not_meet_the_train_files(spark, tmp_path, train, test, match):
    with pytest.raises(InputError, match=match):
        provided(spark, tmp_path, [train], [test])
