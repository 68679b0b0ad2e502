"""Nights in a row: ten over a growing log, and twenty-five that are killed at a random moment and run again."""

import datetime as dt
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.config import parse_config
from kdspark.stages.pipeline import run_night, stages_of
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import Published, Workspace
from tests.faults.nights import FaultyNight, end_group
from tests.integration.nights import ML100K

pytestmark = [pytest.mark.slow, pytest.mark.faults]
Rows = list[tuple[Any, ...]]

FIRST = dt.date(1997, 9, 24)
NIGHTS = 10
LATE, DELIVERED = 2, 5  # half of the events of one day come with the log of another
KEPT = 4


@pytest.mark.timeout(1800)
def test_ten_nights_over_a_growing_log(spark: SparkSession, tmp_path: Path) -> None:
    """MovieLens-100k as it grew, from the evening of its fourth day; a file of events a night."""
    log, folder = days_of_log(), tmp_path / "log"
    folder.mkdir()
    root = tmp_path / "root"
    ids: dict[str, dict[str, int]] = {"user": {}, "item": {}}
    published: list[Published] = []
    for number in range(NIGHTS):
        night = log[log["night"] == number].drop(columns="night")
        night.to_csv(folder / f"{number}.tsv", sep="\t", index=False)
        runner = one_night(spark, root, folder, number)
        publication = runner.night.publication
        latest = publication.latest()
        assert latest.date == FIRST + dt.timedelta(days=number)
        assert publication.damage(latest) == []
        assert latest.manifest["forced"] == []
        assert ("scores" in latest.manifest["health"]["psi"]) == bool(published)
        student = runner.manifest("train_student").facts
        assert student["warm_start"] == (f"{published[-1].date}/{published[-1].run_id}" if published else None)
        published.append(latest)
        so_far = log[log["night"] <= number]
        for side, before in ids.items():
            now = ids_of(runner.output("prepare"), side)
            assert set(now) == set(so_far[f"{side}_id:token"])
            assert sorted(now.values()) == list(range(len(now)))  # dense, each once
            assert before.items() <= now.items()
            assert len(now) > len(before)  # every one of these days brought new users, and new items
            ids[side] = now
        lists = pd.read_parquet(publication.url(latest))
        assert set(lists["user_id"]) == set(ids["user"])
        seen = set(zip(so_far["user_id:token"], so_far["item_id:token"], strict=True))
        assert not seen & set(zip(lists["user_id"], lists["item_id"], strict=True))
    assert publication.runs() == published[-KEPT:]
    assert {path.name for path in (root / "stages" / "prepare").iterdir()} == {
        run.manifest["stages"]["prepare"] for run in published[-KEPT:]
    }
    assert runner.manifest("prepare").facts["files"]["interactions"][-1]["path"].endswith("/9.tsv")
    anew = one_night(spark, root, folder, NIGHTS - 1, ["prepare"], incremental=False)
    assert anew.output("prepare") != runner.output("prepare")
    assert histories_of(runner) == histories_of(anew)  # those of the late delivery in their places


def days_of_log() -> pd.DataFrame:
    """Events with the number of the night that reads them first."""
    log = pd.read_csv(ML100K / "ml-100k.inter", sep="\t", dtype=str)
    days = pd.to_datetime(log["timestamp:float"].astype(float), unit="s").dt.normalize()
    log["night"] = (days - pd.Timestamp(FIRST)).dt.days.clip(lower=0)
    log = log[log["night"] < NIGHTS].reset_index(drop=True)
    log.loc[(log["night"] == LATE) & (log.index % 2 == 1), "night"] = DELIVERED
    return log


def one_night(
    spark: SparkSession, root: Path, folder: Path, number: int, stages: list[str] | None = None, **data: Any
) -> Runner:
    """Run a night whose teacher is small and whose student goes on from last night's; stages: these alone."""
    training = {"epochs": 6, "batch_size": 64, "learning_rate": 0.01}
    config = {
        "data": {
            "interactions": {"paths": str(folder), "format": "csv", "delimiter": "\t"},
            "columns": {"user": "user_id:token", "item": "item_id:token", "timestamp": "timestamp:float"},
            "examples": {"history_length": 20, "max_positions": 10},
            **data,
        },
        "teacher": {"kind": "ease"},
        "student": {"kind": "mf", "dim": 16, "training": training},
        "warm_start": {"share": 0.5},
        "baselines": [],
        "scoring": {"k": 10},
        "evaluation": {"ks": [10], "bootstrap": 100},
        # The days of this log have 80 to 1,300 events, and it has 40 to 90 users, whose NDCG is noise by a fifth: for
        # real nights these bounds would be too wide.
        "gate": {"min_volume": 0.1, "max_volume": 20.0, "min_ratio_to_previous": 0.5},
        "publish": {"keep": KEPT},
    }
    night = Night(parse_config(config), FIRST + dt.timedelta(days=number), Workspace(root), lambda: spark)
    if stages is None:
        return run_night(night)
    runner = Runner(night, stages_of(night.config))
    runner.run(stages)
    return runner


def ids_of(prepared: Path, side: str) -> dict[str, int]:
    table = pd.read_parquet(prepared / f"{side}_ids")
    return dict(zip(table[f"{side}_id"], table[f"{side}_idx"], strict=True))


def histories_of(runner: Runner) -> dict[str, list[str]]:
    """User id -> item ids, the latest last."""
    folder = runner.output("prepare")
    users, items = (ids_of(folder, side) for side in ("user", "item"))
    user_of, item_of = ({idx: one for one, idx in side.items()} for side in (users, items))
    table = pd.read_parquet(folder / "users_full", columns=["user_idx", "history"])
    return {
        user_of[idx]: [item_of[item] for item in history if item != tables.PAD]
        for idx, history in zip(table["user_idx"], table["history"], strict=True)
    }


@pytest.mark.parametrize("number", range(25))
def test_killed_at_a_random_moment_and_run_again(
    night: FaultyNight, gold: Rows, uninterrupted: tuple[FaultyNight, float], number: int
) -> None:
    """At any moment of a night's time; readers see nothing or all of it, and the next try publishes the same rows."""
    process = night.start()
    seconds = random.Random(number).uniform(0, uninterrupted[1])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # one that has just ended is not reaped yet: there it does nothing
    end_group(process)
    assert process.returncode in (-signal.SIGKILL, 0), night.log.read_text()
    night.check_finished_as(gold)
