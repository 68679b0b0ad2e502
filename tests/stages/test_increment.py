"""A night that goes on from the last one gives the tables that reading everything gives; else everything is read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark import __version__
from kdspark.config import parse_config
from kdspark.stages import prepare as stage
from kdspark.stages.increment import LAYOUT, increment_of
from kdspark.stages.runner import Runner
from kdspark.workspace import Publication, write_json
from tests.stages.test_prepare import prepare

DAYS = [f"2024-01-{day:02d}" for day in range(1, 13)]


@dataclass
class Published:
    manifest: dict[str, Any] = field(default_factory=dict)


def write_day(folder: Path, day: str) -> None:
    """Events of a day, a few of them of the day before, repeated, or broken; users and items grow with the days."""
    number = DAYS.index(day)
    rng = np.random.default_rng(number)
    events = 120
    start = pd.Timestamp(day, tz="UTC").timestamp()
    log = pd.DataFrame(
        {
            "u": [f"u{user}" for user in rng.integers(0, 12 + number, events)],
            "i": [f"i{item}" for item in rng.integers(0, 20 + 2 * number, events)],
            "t": start + rng.integers(0, 60, events) * 1200 - rng.choice([0, 86_400], events, p=[0.9, 0.1]),
            "w": rng.integers(1, 6, events).astype(float),
        }
    )
    log.loc[0, "u"], log.loc[1, "w"] = None, np.nan
    log.loc[2, "t"] += 10**9  # a wrong clock, far in the future
    twice = pd.concat([log, log[5:15].assign(w=1.0)])
    folder.mkdir(exist_ok=True)
    twice.to_csv(folder / f"{day}.csv", index=False)


def data_of(folder: Path, **changes: Any) -> dict[str, Any]:
    (folder / "items").mkdir(exist_ok=True)
    pd.DataFrame({"i": ["i1", "i2", "only here", None], "colour": ["red", "blue", "red", "blue"]}).to_csv(
        folder / "items" / "items.csv", index=False
    )
    return {
        "interactions": {"paths": str(folder / "log" / "*.csv"), "format": "csv"},
        "columns": {"user": "u", "item": "i", "timestamp": "t", "weight": "w"},
        "items": {"paths": str(folder / "items"), "format": "csv", "id": "i", "categorical": ["colour"]},
        "filters": {"max_bad_fraction": 0.5},
        **changes,
    }


def tables_of(runner: Runner) -> dict[str, pd.DataFrame]:
    """Rows of every table, in an order of their own."""
    found = {}
    for folder in sorted(path for path in runner.output("prepare").iterdir() if path.is_dir()):
        frame = pd.read_parquet(folder)
        texts = frame.map(lambda cell: str(cell.tolist()) if isinstance(cell, np.ndarray) else cell)
        found[folder.name] = texts.sort_values(list(texts.columns)).reset_index(drop=True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"split": {"kind": "temporal", "test_days": 2}},
        {"filters": {"repeats": "last", "max_bad_fraction": 0.5}, "split": {"kind": "random"}},
    ],
)
def test_the_tables_are_those_of_a_full_rebuild(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    data, root, last = data_of(tmp_path, **changes), tmp_path / "root", None
    read: list[str] = []
    ingest = stage.read_logs

    def read_logs(night, scratch, files, increment, withheld):
        read.append("all" if increment is None else f"{len(increment.files)} of {len(files)}")
        return ingest(night, scratch, files, increment, withheld)

    monkeypatch.setattr(stage, "read_logs", read_logs)
    for night in (slice(0, 9), slice(9, 10), slice(10, 12)):
        for day in DAYS[night]:
            write_day(tmp_path / "log", day)
        before = None if last is None else Published({"stages": {"prepare": last.output("prepare").name}})
        monkeypatch.setattr(Publication, "before", lambda *_, before=before: before)
        date = DAYS[night][-1]
        last = prepare(spark, root, data, date)
        if before is None:
            continue
        whole = prepare(spark, root, {**data, "incremental": False}, date)
        one, other = tables_of(whole), tables_of(last)
        assert list(one) == list(other)
        for name, expected in one.items():
            pd.testing.assert_frame_equal(other[name], expected, obj=name)
        facts = [runner.manifest("prepare").facts for runner in (whole, last)]
        assert facts[0] == facts[1]
        assert facts[0]["input"]["interactions"]["null or blank user id"] == len(DAYS[: night.stop])
    assert read == ["all", "1 of 10", "all", "2 of 12", "all"]


FILES = [{"path": f"/log/{name}", "bytes": 5, "modified_ms": 7} for name in "abc"]
DATA = {
    "interactions": {"paths": "/log"},
    "columns": {"user": "u", "item": "i", "timestamp": "t", "weight": "w"},
}
END_US = 10**15
COLUMNS = {"u": "string", "i": "string", "t": "bigint", "w": "double"}


def previous(folder: Path, **changes: Any) -> Path:
    """A night that read the first two files."""
    config = parse_config({"data": DATA, "teacher": {"kind": "ease"}, "student": {"kind": "mf"}})
    manifest = {
        "versions": {"kdspark": __version__},
        "config": {"settings": {"data": config.data.model_dump(mode="json")}},
        "facts": {
            "layout": LAYOUT,
            "files": {"interactions": FILES[:2]},
            "columns": COLUMNS,
            "input": {"interactions": {"read": 9, "good": 8, "future": 0, "null timestamp": 1}},
            "nulls": {"interactions": {"rows": 9, "missing": {"user": 0}}},
            "future_from": None,
        },
    }
    manifest["facts"].update(changes)
    for table in ("interactions", "quarantine"):
        (folder / table).mkdir()
    write_json(folder / "manifest.json", manifest)
    return folder


def found(folder: Path | None, files: Any = FILES, there: dict[str, str] = COLUMNS, **data: Any) -> Any:
    config = {"data": {**DATA, **data}, "teacher": {"kind": "ease"}, "student": {"kind": "mf"}}
    return increment_of(parse_config(config), folder, files, lambda fresh: there, END_US, {})


def test_new_files_alone_are_read(tmp_path: Path) -> None:
    increment = found(previous(tmp_path))
    assert [file.path for file in increment.files] == ["/log/c"]
    assert (increment.folder, increment.counts["good"]) == (tmp_path, 8)
    (tmp_path / "later").mkdir()
    assert found(previous(tmp_path / "later", future_from=END_US)).future_from == END_US  # it is not yet due
    assert found(tmp_path, split={"kind": "temporal"}, features={"history_length": 7}) is not None


def test_a_first_night_reads_everything() -> None:
    assert found(None) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"incremental": False}, "`data.incremental` is off"),
        ({"filters": {"min_item_events": 2}}, "minimum weights or counts"),
        ({"filters": {"min_weight": 2}}, "minimum weights or counts"),
        ({"split": {"kind": "provided", "test": {"paths": "/test"}}}, "its split is provided"),
        ({"filters": {"repeats": "all"}}, "`data.filters` changed"),
        ({"columns": {**DATA["columns"], "item": "sku"}}, "`data.columns` changed"),
    ],
)
def test_other_settings_read_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: dict[str, Any], reason: str
) -> None:
    with caplog.at_level("INFO", "kdspark"):
        assert found(previous(tmp_path), **data) is None
    assert reason in caplog.text


@pytest.mark.parametrize(
    ("changes", "files", "reason"),
    [
        ({}, FILES[1:], "/log/a is gone or another file"),
        ({}, [{**FILES[0], "bytes": 6}, *FILES[1:]], "/log/a is gone or another file"),
        ({}, FILES[:2], "no file with rows has come"),
        ({}, [*FILES[:2], {**FILES[2], "bytes": 0}], "no file with rows has come"),
        ({"future_from": END_US - 1}, FILES, "which count now"),
        ({"layout": LAYOUT - 1}, FILES, "another version"),
    ],
)
def test_other_files_read_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], files: list[Any], reason: str
) -> None:
    with caplog.at_level("INFO", "kdspark"):
        assert found(previous(tmp_path, **changes), files) is None
    assert reason in caplog.text


@pytest.mark.parametrize("table", ["interactions", "quarantine"])
def test_what_is_gone_reads_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str) -> None:
    (previous(tmp_path) / table).rmdir()
    with caplog.at_level("INFO", "kdspark"):
        assert found(tmp_path) is None
        (tmp_path / "manifest.json").write_text("{")
        assert found(tmp_path) is None
        (tmp_path / "manifest.json").unlink()
        assert found(tmp_path) is None
    assert f"table {table} is gone" in caplog.text
    assert caplog.text.count("manifest is gone") == 2


@pytest.mark.parametrize("columns", [{**COLUMNS, "more": "string"}, {**COLUMNS, "u": "bigint"}, {"u": "string"}])
def test_other_columns_read_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, columns: dict[str, str]
) -> None:
    with caplog.at_level("INFO", "kdspark"):
        assert found(previous(tmp_path), there=columns) is None
    assert "the new files have other columns" in caplog.text
