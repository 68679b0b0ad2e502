"""Finding and reading files: paths and globs, formats, and what each kind of bad input says."""

import pytest

from kdspark.config import SourceConfig
from kdspark.errors import InputError
from kdspark.spark.sources import CORRUPT, list_files, quoted, read_source, require_columns
from tests.spark.logs import csv, json_lines, parquet


def values(frame, *names):
    return sorted(tuple(row) for row in frame.select(*map(quoted, names)).collect())


def test_globs_folders_and_odd_names_are_listed_once_and_read_literally(spark, tmp_path):
    folder = tmp_path / "in put"
    (folder / "deep" / "_temporary").mkdir(parents=True)
    (folder / "a[1].csv").write_text("u,i\nx,1\n")
    (folder / "deep" / "b{2}.csv").write_text("u,i\ny,2\n")
    (folder / "plain.csv").write_text("u,i\nz,3\n")
    (folder / "empty.csv").write_text("")
    for hidden in ("_SUCCESS", ".part.crc", "deep/_temporary/c.csv"):
        (folder / hidden).write_text("u,i\nno,4\n")
    source = SourceConfig(paths=[str(folder), f"{tmp_path}/in*/a*.csv"], format="csv")
    names = [file.path.rsplit("/", 1)[1] for file in list_files(spark, source)]
    assert sorted(names) == ["a[1].csv", "b{2}.csv", "empty.csv", "plain.csv"]
    assert values(read_source(spark, source), "u", "i") == [("x", "1"), ("y", "2"), ("z", "3")]


def test_csv_is_text_and_its_malformed_rows_are_marked(spark, tmp_path):
    source = csv(tmp_path / "log.csv", 'u|i\n007|"a|b"\n1|2|3\nonly\n', delimiter="|")
    frame = read_source(spark, source)
    rows = {row["u"]: (row["i"], row[CORRUPT] is not None) for row in frame.collect()}
    assert rows == {"007": ("a|b", False), "1": ("2", True), "only": (None, True)}
    assert {row["u"] for row in frame.select("u", CORRUPT).collect() if row[CORRUPT]} == {"1", "only"}


def test_csv_without_header(spark, tmp_path):
    frame = read_source(spark, csv(tmp_path / "log.csv", "a,1\nb,2\n", header=False))
    assert values(frame, "_c0", "_c1") == [("a", "1"), ("b", "2")]


def test_json_keeps_types_and_marks_malformed_lines(spark, tmp_path):
    source = json_lines(tmp_path / "log.json", [{"u": 2**53 + 1, "i": "ä"}])
    with (tmp_path / "log.json").open("a", encoding="utf-8") as file:
        file.write("{not json\n")
    rows = read_source(spark, source).collect()
    assert sorted((row["u"] or 0, row["i"] or "", row[CORRUPT] is not None) for row in rows) == [
        (0, "", True),
        (2**53 + 1, "ä", False),
    ]


def test_parquet_columns_with_dots_colons_and_backticks(spark, tmp_path):
    names = ["user.id", "item:id", "odd`name"]
    frame = spark.createDataFrame([(1, "x", 2.5)], "a LONG, b STRING, c DOUBLE").toDF(*names)
    read = read_source(spark, parquet(tmp_path / "log", frame))
    assert values(read, *names) == [(1, "x", 2.5)]


def test_no_match_names_the_path(spark, tmp_path):
    with pytest.raises(InputError, match=r"nothing-\*\.csv: no such file.*paths"):
        list_files(spark, SourceConfig(paths=f"{tmp_path}/nothing-*.csv", format="csv"))


def test_unknown_file_system_is_one_line(spark):
    with pytest.raises(InputError, match="nofs://bucket/x: cannot be listed"):
        list_files(spark, SourceConfig(paths="nofs://bucket/x"))


def test_only_empty_files(spark, tmp_path):
    with pytest.raises(InputError, match="every file is empty"):
        read_source(spark, csv(tmp_path / "log.csv", ""))


def test_pickled_metadata_is_refused(spark, tmp_path):
    (tmp_path / "part.parquet").write_bytes(b"x")
    (tmp_path / "_common_metadata").write_bytes(b"x")
    with pytest.raises(InputError, match="_common_metadata: pickled metadata"):
        list_files(spark, SourceConfig(paths=str(tmp_path)))


@pytest.mark.parametrize("damage", ["text", "truncated", "zero"])
def test_one_damaged_parquet_file_among_good_ones_is_named(spark, tmp_path, damage):
    source = parquet(tmp_path / "log", spark.range(100).repartition(3))
    victim = sorted((tmp_path / "log").glob("*.parquet"))[1]
    whole = victim.read_bytes()
    victim.write_bytes({"text": b"u,i\n1,2\n", "truncated": whole[:-20], "zero": b""}[damage])
    for checksum in (tmp_path / "log").glob(".*.crc"):
        checksum.unlink()
    with pytest.raises(InputError, match=victim.name) as caught:
        read_source(spark, source)
    assert "delimiter" not in str(caught.value)


def test_a_column_that_changes_its_type_between_files(spark, tmp_path):
    spark.range(3).write.parquet(str(tmp_path / "a"))
    spark.range(3).selectExpr("cast(id as string) id").write.parquet(str(tmp_path / "b"))
    with pytest.raises(InputError, match=r"/b/part.*: column 'id' is string, but bigint in .*/a/part.*with one type"):
        read_source(spark, SourceConfig(paths=[str(tmp_path / "a"), str(tmp_path / "b")]))


def test_missing_columns_are_listed_with_those_there_are(spark, tmp_path):
    source = csv(tmp_path / "log.csv", "user,item\na,b\n")
    with pytest.raises(InputError) as caught:
        require_columns(read_source(spark, source), {"data.columns.user": "usr"}, source)
    message = str(caught.value)
    assert "log.csv" in message
    assert "'usr' (`data.columns.user`)" in message
    assert "there are 'user', 'item'." in message
    assert "`delimiter`, `header` and `encoding`" in message
