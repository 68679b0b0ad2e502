"""What is said of files that cannot be read: the file, a cause of a few words, a remedy that fits the format."""

import gzip
import os
import signal

import pytest

from kdspark.config import SourceConfig
from kdspark.errors import InputError, StageError
from kdspark.spark.quarantine import write_judged
from kdspark.spark.sources import quoted, read_source
from kdspark.spark.unreadable import reading_keys, unreadable
from kdspark.spark.worker_errors import worker_errors
from tests.spark.logs import parquet


def read_all(spark, source, scratch):
    frame = read_source(spark, source)
    return write_judged(
        frame, [quoted(name) for name in frame.columns[:1]], quoted("u").cast("string"), source, scratch
    )


def message(spark, source, tmp_path):
    with pytest.raises(InputError) as caught:
        read_all(spark, source, tmp_path / "scratch")
    assert "\n" not in str(caught.value)
    assert len(caught.value.problem.partition(": not readable as ")[2]) < 140
    return str(caught.value)


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))
    for checksum in path.parent.glob(".*.crc"):
        checksum.unlink()


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda whole: whole[:-9], "it is not a Parquet file. Expected magic number at tail"),
        (lambda whole: b"u,i\n1,2\n", "it is not a Parquet file (length is too low: 8)"),
        (lambda whole: whole[:4] + bytes(60) + whole[64:], ": not readable as Parquet ("),  # a page, not the footer
    ],
)
def test_parquet(spark, tmp_path, change, cause):
    source = parquet(tmp_path / "in put", spark.range(5000).selectExpr("hash(id) u").repartition(1))
    victim = next((tmp_path / "in put").glob("*.parquet"))
    damage(victim, change)
    said = message(spark, source, tmp_path)
    assert str(victim) in said
    assert cause in said
    assert said.endswith("Export the file again, or correct `format`.")


def test_csv_with_another_header(spark, tmp_path):
    (tmp_path / "a.csv").write_text("u,i,t\na,x,1\n")
    (tmp_path / "b.csv").write_text("u,t,i\na,1,x\n")
    said = message(spark, SourceConfig(paths=f"{tmp_path}/*.csv", format="csv"), tmp_path)
    assert f"{tmp_path}/b.csv: not readable as CSV (CSV header does not conform" in said
    assert "Expected: i but found: t)." in said
    assert said.endswith("or correct `format`, `delimiter`, `header` and `encoding`.")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_half_of_a_compressed_file(spark, tmp_path, kind):
    rows = (
        "".join(f'{{"u": {i * 7919 % 10007}}}\n' for i in range(20_000)) if kind == "json" else "u\n" + "1\n" * 99_999
    )
    (tmp_path / f"log.{kind}.gz").write_bytes(gzip.compress(rows.encode())[:200])
    said = message(spark, SourceConfig(paths=f"{tmp_path}/log.{kind}.gz", format=kind), tmp_path)
    assert f"log.{kind}.gz: not readable as" in said
    assert "(Unexpected end of input stream)" in said
    assert ("`delimiter`" in said) == (kind == "csv")


def test_an_error_without_a_file_names_the_paths():
    error = unreadable(
        SourceConfig(paths=["x/*", "y"], format="json"), ValueError("[SOME.CODE] no room  left SQLSTATE: 1A")
    )
    assert str(error) == (
        "x/*, y: not readable as JSON lines (no room left). Export the file again, or correct `format` and `encoding`."
    )


@pytest.mark.parametrize(
    ("kind", "first", "expected"),
    [
        ("parquet", ["the export"], "the export"),
        ("parquet", ["the export", "the columns"], "the export and the columns"),
        ("csv", ["the export"], "the export, `delimiter`, `header` and `encoding`"),
    ],
)
def test_only_keys_of_the_format_are_advised(kind, first, expected):
    assert reading_keys(SourceConfig(paths="x", format=kind), *first) == expected


def test_a_worker_that_dies_meanwhile_is_not_the_files_fault(spark, tmp_path):
    def die(batches):
        os.kill(os.getpid(), signal.SIGKILL)
        yield from batches

    source = parquet(tmp_path / "log", spark.range(10).selectExpr("cast(id AS string) u"))
    frame = read_source(spark, source).mapInArrow(die, "u STRING")
    with pytest.raises(StageError, match=r"^Stage prepare: a Python worker died"), worker_errors("Stage prepare"):
        write_judged(frame, [quoted("u")], quoted("u"), source, tmp_path / "scratch")
