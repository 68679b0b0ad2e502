"""A log that is not what it was last night: faults 14 to 16, stopped before anything is trained."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.config import parse_config
from kdspark.errors import BlockedError, EmptyDayError, InputError
from kdspark.stages.health import of_inputs
from kdspark.stages.pipeline import run_night
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import LocalStore, Publication, Workspace, parse_date
from kdspark.workspace.health import read_rows
from tests.faults.nights import DATE, NEXT, FaultyNight
from tests.stages.tiny import tiny_config

pytestmark = pytest.mark.slow
Frame = pd.DataFrame


class Days:
    """A log with a Parquet file per day and a table of items; nights that only prepare, and count as published."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.root, self.log = spark, folder / "root", folder / "log"
        self.log.mkdir()
        items = pd.DataFrame({"i": [f"i{n}" for n in range(9)], "price": [float(n) for n in range(9)], "note": "x"})
        items.to_parquet(folder / "items.parquet")
        self.items = folder / "items.parquet"
        self.config: dict[str, Any] = {
            "data": {
                "interactions": {"paths": str(self.log)},
                "columns": {"user": "u", "item": "i", "timestamp": "t"},
                "filters": {"repeats": "all"},
                "items": {"paths": str(self.items), "id": "i", "numeric": ["price"]},
            },
            "teacher": {"kind": "ease"},
            "student": {"kind": "mf", "dim": 4},
            "scoring": {"k": 1},
            "evaluation": {"ks": [1]},
            "gate": {"metric": "ndcg@1"},
        }

    def day(self, date: str, events: int = 60) -> Frame:
        start = int(pd.Timestamp(date, tz="UTC").timestamp())
        rows = [(f"u{n % 12}", f"i{(n * 5 + n // 12) % 9}", start + 600 * (n % 140), "web") for n in range(events)]
        return pd.DataFrame(rows, columns=["u", "i", "t", "extra"])

    def write(self, date: str, rows: Frame) -> None:
        texts = {name: "string" for name in rows.columns if rows[name].dtype == object}  # of no rows, too
        rows.astype(texts).to_parquet(self.log / f"{date}.parquet", index=False)

    def night(self, date: str, **changes: Any) -> Runner:
        config = parse_config({**self.config, "gate": {**self.config["gate"], **changes.pop("gate", {})}})
        night = Night(config, parse_date(date), Workspace(self.root), lambda: self.spark)
        return run_night(replace(night, **changes), "prepare")

    def published(self, date: str, events: int = 60) -> Runner:
        """Publish what a night has prepared: an empty table."""
        self.write(date, self.day(date, events))
        runner = self.night(date)
        manifest = runner.manifest("prepare")
        staged = self.root / "staged"
        staged.mkdir(exist_ok=True)
        facts = {"stages": {"prepare": runner.output("prepare").name}}
        health = of_inputs(manifest.rows, manifest.facts, [])
        runner.night.publication.publish(parse_date(date), "r1", staged, {**facts, "health": health})
        return runner


@pytest.fixture
def days(spark: SparkSession, tmp_path: Path) -> Days:
    found = Days(spark, tmp_path)
    found.published(DATE)
    return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            lambda day: day.drop(columns="u"),
            r"'u' \(`data\.columns\.user`\) was string and is gone\. Correct",
            marks=pytest.mark.faults,
        ),
        (
            lambda day: day.rename(columns={"u": "userid2"}),
            r"'u' \(`data\.columns\.user`\) was string and is gone; 'userid2' string is new\. Correct",
        ),
        pytest.param(
            lambda day: day.assign(t=day["t"].astype(str)),
            r"'t' \(`data\.columns\.timestamp`\) was bigint and is string\. .*`--accept-schema`",
            marks=pytest.mark.faults,
        ),
    ],
    ids=["dropped", "renamed", "retyped"],
)
def test_fault_14_a_changed_column_stops_the_night(days: Days, change: Any, words: str) -> None:
    days.write(NEXT, change(days.day(NEXT)))
    with pytest.raises(InputError, match=rf"the columns are not those of the last published night: {words}"):
        days.night(NEXT)
    assert not (days.root / "stages" / "train_teacher").exists()


def test_fault_14_in_a_side_table_and_accepted(days: Days, caplog: pytest.LogCaptureFixture) -> None:
    days.write(NEXT, days.day(NEXT).assign(extra=1, more=2.0))
    items = pd.read_parquet(days.items).drop(columns="note")
    items.assign(price=items["price"].astype(str)).to_parquet(days.items)
    words = r"items\.parquet: .*'price' \(`data\.items\.numeric`\) was double and is string; 'note' was string and is g"
    with pytest.raises(InputError, match=words):
        days.night(NEXT)
    (days.log / f"{DATE}.parquet").unlink()  # Parquet files whose columns have two types cannot be read as one
    with caplog.at_level("WARNING", "kdspark"):
        runner = days.night(NEXT, accept_schema=True)
    facts = runner.manifest("prepare").facts
    assert facts["schema_accepted"] == [
        f"{days.items}: 'price' (`data.items.numeric`) was double and is string",
    ]
    assert facts["schemas"]["interactions"] == {
        "u": "string",
        "i": "string",
        "t": "bigint",
        "extra": "bigint",
        "more": "double",
    }
    assert "'extra' was string and is bigint; 'more' double is new" in caplog.text


def test_fault_15_a_day_without_events(days: Days, caplog: pytest.LogCaptureFixture) -> None:
    days.write("part-00000", days.day(DATE)[:0])  # as Spark writes them: empty parts among others are no fault
    with pytest.raises(EmptyDayError, match=r"no event of 2024-01-03 \(UTC\).*`gate\.on_empty_day`"):
        days.night(NEXT)
    with caplog.at_level("WARNING", "kdspark"):
        days.night(NEXT, gate={"on_empty_day": "keep_previous"})
    assert f"The lists of {DATE}, run r1, stay" in caplog.text
    outcomes = [(str(row["date"]), row["outcome"], row["day_events"]) for row in read_rows(days.root, 9)]
    assert (NEXT, "failed", 0) in outcomes
    assert (NEXT, "kept", 0) in outcomes
    days.night(NEXT, gate={"on_empty_day": "publish"})
    days.night(NEXT, force=True)
    days.write(NEXT, days.day(NEXT))
    days.night(NEXT)


@pytest.mark.faults
def test_fault_15_a_log_that_is_gone(days: Days, caplog: pytest.LogCaptureFixture) -> None:
    (days.log / f"{DATE}.parquet").unlink()
    with pytest.raises(EmptyDayError, match=r"log: no such file\."):
        days.night(NEXT)
    days.write(NEXT, days.day(NEXT)[:0])
    with pytest.raises(EmptyDayError, match="the log is empty"):
        days.night(NEXT)
    with caplog.at_level("WARNING", "kdspark"):
        days.night(NEXT, gate={"on_empty_day": "keep_previous"})
    assert f"The lists of {DATE}, run r1, stay" in caplog.text
    days.items.unlink()
    with pytest.raises(InputError, match=r"items\.parquet: no such file"):
        days.night(NEXT, gate={"on_empty_day": "keep_previous"})


@pytest.mark.parametrize(
    ("events", "words"), [(24, r"is 0\.4, below 0\.5"), pytest.param(300, "is 5, above 4", marks=pytest.mark.faults)]
)
def test_fault_16_a_day_of_unusual_size_is_blocked_before_training(days: Days, events: int, words: str) -> None:
    for before in ("2023-12-30", "2023-12-31"):
        staged = days.root / "staged"
        Publication(LocalStore(days.root)).publish(parse_date(before), "r1", staged, {"health": {"day_events": 60}})
    days.write(NEXT, days.day(NEXT, events).drop_duplicates(["u", "i", "t"]))
    with pytest.raises(BlockedError, match=rf"blocked before training: the number of the day's events .* {words}"):
        days.night(NEXT, gate={"min_volume": 0.5})
    assert not (days.root / "stages" / "train_teacher").exists()
    days.night(NEXT, force=True)


def test_a_column_that_is_suddenly_missing_is_blocked(days: Days) -> None:
    items = pd.read_parquet(days.items)
    items.loc[:2, "price"] = None
    items.to_parquet(days.items)
    days.write(NEXT, days.day(NEXT))
    with pytest.raises(BlockedError, match=r"missing values of items\.price, over the usual one, is 0\.3333, above"):
        days.night(NEXT)
    runner = days.night(NEXT, gate={"max_null_rise": 0.5})
    assert runner.manifest("prepare").facts["nulls"]["items"] == {"rows": 9, "missing": {"i": 0, "price": 3}}


@pytest.mark.faults
@pytest.mark.parametrize("users", [16, 200])
def test_fault_16_whole(tmp_path: Path, users: int) -> None:
    every = {**tiny_config(tmp_path)["data"], "filters": {"repeats": "all"}}
    night = FaultyNight(tmp_path, data=every)
    write_day(night, DATE, 40)
    first = night.run()
    assert first.code == 0, first.log
    publication = Publication(LocalStore(night.root))
    health = publication.latest().manifest["health"]
    staged = tmp_path / "staged"
    staged.mkdir()
    for before in ("2023-12-30", "2023-12-31"):
        publication.publish(dt.date.fromisoformat(before), "r1", staged, {"health": {"day_events": 320}})
    assert health["day_events"] == 320
    write_day(night, NEXT, users)
    tree = night.tree
    second = night.run(date=NEXT)
    assert second.code == 6, second.log
    assert len(second.errors) == 1
    assert f"is {users / 40:g}, " in second.errors[0]
    assert night.tree == tree
    assert "train_teacher  starting" not in second.log
    rows = {str(row["date"]): row for row in read_rows(night.root, 9)}
    assert (rows[DATE]["outcome"], rows[NEXT]["outcome"]) == ("published", "blocked")
    assert rows[DATE]["student_metric"] == health["metric"]
    assert 'kdspark_night_success{name="kdspark"} 0.0' in (night.root / "metrics.prom").read_text()


@pytest.mark.faults
def test_fault_15_whole(tmp_path: Path) -> None:
    night = FaultyNight(tmp_path)
    write_day(night, DATE, 40)
    assert night.run().code == 0
    tree = night.tree
    failed = night.run(date=NEXT)
    assert failed.code == 3
    assert "no event of 2024-01-03 (UTC)" in failed.errors[0]
    kept = night.run("--set", "gate.on_empty_day=keep_previous", date=NEXT)
    assert kept.code == 0, kept.log
    assert f"The lists of {DATE}" in kept.log
    assert night.tree == tree
    assert json.loads(night.ask("runs", "--json").log)[0]["date"] == DATE
    assert {row["outcome"] for row in read_rows(night.root, 9)} == {"published", "failed", "kept"}


def write_day(night: FaultyNight, date: str, users: int) -> None:
    """Events of eight per user on a day, as those of `tiny_config`, after what the log holds."""
    path = night.folder / "log.csv"
    if date == DATE:
        tiny_config(night.folder)
        path.unlink()
    start = int(pd.Timestamp(date, tz="UTC").timestamp())
    rows = [(u, (u * 7 + n * (1 + u % 3) + start // 86_400) % 25, start + n) for u in range(users) for n in range(8)]
    fresh = pd.DataFrame(rows, columns=["u", "i", "t"])
    known = [pd.read_csv(path)] if path.exists() else []
    pd.concat([*known, fresh]).to_csv(path, index=False)
