"""Columns in the names of folders: for every format and way to name the files, with the values as they stand."""

import pytest

from kdspark import tables
from kdspark.config import FeaturesConfig, SideTableConfig, SourceConfig
from kdspark.spark.ingest import read_interactions
from kdspark.spark.side import build_static
from kdspark.spark.sources import read_source
from tests.spark.logs import COLUMNS, END_US, side_rows

TEXT = {"csv": "u,i,t\n{u},x,5\n", "json": '{{"u":"{u}","i":"x","t":5}}\n'}


def write(spark, folder, user, kind="csv"):
    folder.mkdir(parents=True)
    if kind == "parquet":
        spark.sql(f"SELECT '{user}' u, 'x' i, 5L t").coalesce(1).write.parquet(str(folder / "part"))
    else:
        (folder / f"part-0.{kind}").write_text(TEXT[kind].format(u=user), encoding="utf-8")


def rows(frame, *names):
    return sorted((tuple(row) for row in frame.select(*names).collect()), key=repr)


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
@pytest.mark.parametrize("paths", ["", "/dt=2026-11-*", "/dt=2026-11-*/shop=*/part*"])
def test_root_glob_and_files_give_the_same_columns(spark, tmp_path, kind, paths):
    root = tmp_path / "events"
    for user, folder in enumerate(["dt=2026-11-01/shop=007", "dt=2026-11-01/shop=1e3", "dt=2026-11-02/shop=007"]):
        write(spark, root / folder, user, kind)
    frame = read_source(spark, SourceConfig(paths=f"{root}{paths}", format=kind))
    assert [(field.name, field.dataType.simpleString()) for field in frame.schema][-2:] == [
        ("dt", "string"),
        ("shop", "string"),
    ]
    assert rows(frame, "u", "dt", "shop") == [
        ("0", "2026-11-01", "007"),
        ("1", "2026-11-01", "1e3"),
        ("2", "2026-11-02", "007"),
    ]


def test_values_are_those_that_spark_itself_wrote(spark, tmp_path):
    values = ["a b", "a+b", "50%", "%2B", "k=v", "é/ü", "x:y", "*[1]", "C:\\d", None]
    frame = spark.createDataFrame([(str(n), value) for n, value in enumerate(values)], "u STRING, `k e` STRING")
    frame.write.partitionBy("k e").json(str(tmp_path / "log"))
    found = read_source(spark, SourceConfig(paths=str(tmp_path / "log"), format="json"))
    assert rows(found, "u", "`k e`") == [(str(n), value) for n, value in enumerate(values)]


def test_a_percent_sign_that_escapes_nothing_stays(spark, tmp_path):
    write(spark, tmp_path / "off=100%", "a")
    assert rows(read_source(spark, SourceConfig(paths=str(tmp_path), format="csv")), "u", "off") == [("a", "100%")]


def test_several_roots_of_different_depth(spark, tmp_path):
    write(spark, tmp_path / "old" / "flat", "a")
    write(spark, tmp_path / "new" / "DT=2" / "plain" / "shop=s", "b")
    write(spark, tmp_path / "dt=outer" / "dt=3", "c")
    paths = [str(tmp_path / name) for name in ("old", "new", "dt=outer")]
    frame = read_source(spark, SourceConfig(paths=paths, format="csv"))
    assert rows(frame, "u", "dt", "shop") == [("a", None, None), ("b", "2", "s"), ("c", "3", None)]
    assert len(frame.columns) == 6  # with the one for malformed rows: dt and DT are one column


@pytest.mark.parametrize("key", ["u", "U"])
def test_a_column_of_the_file_wins_over_a_folder_that_happens_to_be_called_like_it(spark, tmp_path, key):
    write(spark, tmp_path / f"{key}=nobody" / "log", "ann")
    frame = read_source(spark, SourceConfig(paths=str(tmp_path), format="csv"))
    assert rows(frame, "u") == [("ann",)]
    assert [name.lower() for name in frame.columns].count("u") == 1


def test_equal_signs_in_file_names_and_without_a_key_are_no_columns(spark, tmp_path):
    write(spark, tmp_path / "=x", "ann")
    (tmp_path / "dt=1.csv").write_text("u,i,t\nbob,x,5\n")
    frame = read_source(spark, SourceConfig(paths=str(tmp_path), format="csv"))
    assert rows(frame, *frame.columns[:3]) == [("ann", "x", "5"), ("bob", "x", "5")]
    assert len(frame.columns) == 4


def test_a_file_with_a_column_called_metadata(spark, tmp_path):
    spark.sql("SELECT 'ann' u, 1 _metadata").write.parquet(str(tmp_path / "dt=1"))
    assert rows(read_source(spark, SourceConfig(paths=str(tmp_path))), "u", "_metadata", "dt") == [("ann", 1, "1")]


def test_events_take_their_time_and_weight_from_folders(spark, tmp_path):
    for user, folder in (("a", "w=2.5/dt=1970-01-02"), ("b", "w=none/dt=1970-01-02"), ("c", "w=1/dt=soon")):
        write(spark, tmp_path / "log" / folder, user)
    columns = COLUMNS.model_copy(update={"timestamp": "dt", "timestamp_unit": "timestamp", "weight": "w"})
    source = SourceConfig(paths=str(tmp_path / "log"), format="csv")
    found = read_interactions(spark, source, columns, END_US, 1.0, tmp_path / "scratch")
    assert [tuple(row) for row in found.events.collect()] == [("a", "x", 86_400_000_000, 2.5)]
    bad = {row[tables.REASON]: row[tables.RAW_ROW] for row in found.quarantine.collect()}
    assert set(bad) == {"null or non-finite weight", "timestamp is not of unit timestamp"}
    assert '"dt":"soon"' in bad["timestamp is not of unit timestamp"]


def test_a_side_table_takes_a_category_from_folders(spark, tmp_path):
    for user, country in (("a", "de"), ("b", "fr"), ("c", "de")):
        write(spark, tmp_path / f"country={country}" / user, user)
    side = SideTableConfig(paths=str(tmp_path), format="csv", id="u", categorical=["country"])
    frame = side_rows(spark, side, tmp_path / "_scratch", tables.USER_ID)
    schema = f"{tables.USER_IDX} INT, {tables.USER_ID} STRING"
    vocabulary = spark.createDataFrame([(0, "a"), (1, "b"), (2, "c")], schema)
    everybody = vocabulary.select(tables.USER_IDX)
    static = build_static(frame, side, FeaturesConfig(), vocabulary, everybody, None, lambda codes: codes)
    code = {row[tables.VALUE]: row[tables.CODE] for row in static.codes.collect()}
    found = dict(static.table.select(tables.USER_ID, static.table[tables.CODES][0]).collect())
    assert found == {"a": code["de"], "b": code["fr"], "c": code["de"]}
