"""Logs as they come: faults 13 and 17 to 21, as far as the tables that a night is made from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.errors import ConfigError, InputError
from kdspark.spark.session import refuse_lossy_reads
from kdspark.stages import prepare as stage
from tests.stages.test_prepare import prepare

pytestmark = pytest.mark.slow
DATE = "2024-01-02"
END = pd.Timestamp("2024-01-03", tz="UTC").timestamp()


class Log:
    """Twelve users with six events each on nine items, in the two days up to DATE, in one Parquet file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.folder.mkdir()
        rows = [
            (f"u{user}", f"i{(user + 2 * n) % 9}", END - 172_800 + 3600 * n + user)
            for user in range(12)
            for n in range(6)
        ]
        self.rows = pd.DataFrame(rows, columns=["u", "i", "t"])

    def write(self, rows: pd.DataFrame | None = None, name: str = "a") -> Path:
        path = self.folder / f"{name}.parquet"
        (self.rows if rows is None else rows).to_parquet(path, index=False)
        return path

    def data(self, **more: Any) -> dict[str, Any]:
        columns = {"user": "u", "item": "i", "timestamp": "t"}
        return {"interactions": {"paths": str(self.folder)}, "columns": columns, **more}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def events(spark: SparkSession, root: Path, data: dict[str, Any], date: str = DATE) -> pd.DataFrame:
    """What `prepare` makes of a log, in external ids, sorted."""
    out = prepare(spark, root, data, date).output("prepare")
    found = pd.read_parquet(out / "interactions").merge(pd.read_parquet(out / "user_ids"), on="user_idx")
    found = found.merge(pd.read_parquet(out / "item_ids"), on="item_idx")
    return found[["user_id", "item_id", "ts", "split"]].sort_values(["user_id", "ts", "item_id"], ignore_index=True)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda data: data[: len(data) // 2], r"b\.parquet"),
        (lambda data: b"", r"b\.parquet: zero bytes"),
        (lambda data: b"PAR9" + data[4:-4] + b"PAR9", r"b\.parquet"),
    ],
    ids=["truncated", "zero bytes", "wrong magic"],
)
def test_fault_13_damaged_files_are_named(
    spark: SparkSession, tmp_path: Path, log: Log, harm: Callable[[bytes], bytes], words: str
) -> None:
    log.write()
    path = log.write(name="b")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(InputError, match=words):
        events(spark, tmp_path / "root", log.data())
    assert not list((tmp_path / "root").glob("stages/prepare/*"))


@pytest.mark.parametrize("key", ["ignoreCorruptFiles", "ignoreMissingFiles"])
def test_fault_13_sessions_that_skip_files_are_refused(spark: SparkSession, key: str) -> None:
    spark.conf.set(f"spark.sql.files.{key}", "true")
    try:
        with pytest.raises(ConfigError, match=key):
            refuse_lossy_reads(spark)
    finally:
        spark.conf.unset(f"spark.sql.files.{key}")


def test_fault_17_bad_rows_are_quarantined_and_too_many_stop_the_night(
    spark: SparkSession, tmp_path: Path, log: Log
) -> None:
    bad = pd.DataFrame(
        {
            "u": [None, " ", "u1", "u1", "u1", "u1"],
            "i": ["i1", "i1", "", "i1", "i1", "i1"],
            "t": [1.0, 1.0, 1.0, np.inf, -5.0, 1e18],
        }
    )
    log.write(pd.concat([log.rows, bad]))
    with pytest.raises(InputError, match=r"6 of 78 rows are bad .*2 x null or blank user id"):
        events(spark, tmp_path / "root", log.data())
    runner = prepare(spark, tmp_path / "root", log.data(filters={"max_bad_fraction": 0.1}))
    counts = runner.manifest("prepare").facts["input"]["interactions"]
    assert (counts["read"], counts["good"]) == (78, 72)
    assert counts["null or blank user id"] == 2
    assert counts["null or blank item id"] == 1
    assert sum(counts.values()) == 2 * 78
    kept = pd.read_parquet(runner.output("prepare") / "quarantine")
    assert len(kept) == 6
    assert kept["source_file"].str.endswith("a.parquet").all()


def test_fault_18_ids_of_any_letters_stay_what_they_are(spark: SparkSession, tmp_path: Path, log: Log) -> None:
    names = ["\u00e9", "e\u0301", "\U0001f980", "a\nb", "a/b", "../../x", "a%2Fb", "A", "a", "a ", "'; DROP--", "${x}"]
    log.rows["u"] = np.repeat(names, 6)
    log.rows["i"] = [f"{name}|{n}" for name in names for n in range(6)]
    log.write()
    found = events(spark, tmp_path / "root", log.data())
    assert sorted(set(found["user_id"])) == sorted(names)
    expected = {(u, i) for u, i in zip(log.rows["u"], log.rows["i"], strict=True)}
    assert set(zip(found["user_id"], found["item_id"], strict=True)) == expected
    assert not [path for path in (tmp_path / "root").rglob("*") if path.name == "x" or "%2F" in path.name]


def test_fault_19_large_and_negative_numbers(spark: SparkSession, tmp_path: Path, log: Log) -> None:
    users = [2**31, 2**31 - 1, -(2**31) - 1, 2**53 + 1, 2**53, 2**63 - 1, -(2**63), -1, 0, 1, 2**62 + 1, 2**62]
    log.rows["u"] = np.repeat(np.array(users, np.int64), 6)
    log.write()
    found = events(spark, tmp_path / "root", log.data())
    assert found["user_id"].dtype == np.int64
    assert sorted(set(found["user_id"])) == sorted(users)


def test_fault_20_a_log_delivered_twice_counts_once(spark: SparkSession, tmp_path: Path, log: Log) -> None:
    log.write()
    once = events(spark, tmp_path / "once", log.data())
    log.write(name="b")
    pd.testing.assert_frame_equal(events(spark, tmp_path / "twice", log.data()), once)
    again = log.data(filters={"repeats": "all"})
    pd.testing.assert_frame_equal(events(spark, tmp_path / "all", again), once)


def test_fault_21_the_window_is_half_open_and_the_files_are_those_of_the_start(
    spark: SparkSession, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = pd.DataFrame({"u": ["u0", "u0", "u0"], "i": ["last", "first", "late"], "t": [END - 1e-6, END, END + 9e5]})
    log.write(pd.concat([log.rows, edge]))
    read = stage.read_logs

    def read_later(*arguments: Any) -> Any:
        log.write(log.rows.assign(u="appended"), name="z")
        return read(*arguments)

    monkeypatch.setattr(stage, "read_logs", read_later)
    runner = prepare(spark, tmp_path / "root", log.data())
    facts = runner.manifest("prepare").facts
    assert [Path(file["path"]).name for file in facts["files"]["interactions"]] == ["a.parquet"]
    assert facts["input"]["interactions"]["future"] == 2
    out = runner.output("prepare")
    items = set(pd.read_parquet(out / "item_ids")["item_id"])
    assert "last" in items
    assert not items & {"first", "late"}
    assert "appended" not in set(pd.read_parquet(out / "user_ids")["user_id"])
