"""The same rows and weights, however the work is cut up and wherever the machine's clock stands: faults 22, 29, 30."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from tests.faults.nights import MAIN, SPARK, FaultyNight
from tests.stages.tiny import runner_of, tiny_config

pytestmark = pytest.mark.slow
Rows = list[tuple[Any, ...]]

PARTITIONS, BATCH = "spark.sql.shuffle.partitions", "spark.sql.execution.arrow.maxRecordsPerBatch"
CUTS: list[tuple[str, dict[str, str], int]] = [
    ("local[2,4]", {PARTITIONS: "7", BATCH: "1"}, 5),
    *(("local[2,4]", {PARTITIONS: str(partitions)}, 1) for partitions in (1, 64)),
    *(("local[2,4]", {BATCH: str(rows)}, 3) for rows in (100, 10_000)),
    ("local[1,4]", {}, 1),
]


@pytest.mark.faults
@pytest.mark.parametrize(("master", "settings", "files"), CUTS)
def test_fault_29_rows_do_not_depend_on_how_the_work_is_cut(
    tmp_path: Path, gold: Rows, master: str, settings: dict[str, str], files: int
) -> None:
    night = FaultyNight(tmp_path, spark={"master": master, "settings": {**SPARK["settings"], **settings}})
    log = pd.read_csv(tmp_path / "log.csv")
    (tmp_path / "log.csv").unlink()
    (tmp_path / "log.csv").mkdir()  # a folder of files in the place of the one file
    for number in range(files):
        log[number::files].to_csv(tmp_path / "log.csv" / f"part-{number}.csv", index=False)
    ended = night.run()
    assert ended.code == 0, ended.log
    assert night.rows == gold


def test_fault_30_training_three_times_gives_the_same_weights(spark: SparkSession, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    found = set()
    for number in range(3):
        runner = runner_of(spark, tmp_path / str(number), config)
        runner.run(["prepare", "train_teacher", "soft_labels", "train_student"])
        files = [
            runner.manifest(name).files["model/model.safetensors"]["sha256"]
            for name in ("train_teacher", "train_student")
        ]
        found.add(tuple(files))
    assert len(found) == 1


@pytest.mark.parametrize(
    "zone", ["Asia/Tokyo", *(pytest.param(zone, marks=pytest.mark.faults) for zone in ("America/New_York", "UTC"))]
)
def test_fault_22_the_split_is_that_of_utc(tmp_path: Path, zone: str) -> None:
    """Around a night in which New York's clocks went on; texts without a zone are UTC."""
    hours = pd.date_range("2024-03-08", "2024-03-12", freq="h", inclusive="left")
    log = pd.DataFrame(
        {"u": [f"u{n % 12}" for n in range(len(hours))], "i": [f"i{n * 7 % 25}" for n in range(len(hours))]}
    )
    log["t"] = hours.strftime("%Y-%m-%d %H:%M:%S")
    night = FaultyNight(tmp_path)
    log.to_csv(tmp_path / "log.csv", index=False)
    changes = {
        "data.columns.timestamp_unit": "timestamp",
        "data.split": "{kind: temporal, valid_days: 1, test_days: 1}",
        "teacher": "{kind: ease}",
    }
    command = [sys.executable, "-c", MAIN, "prepare", "--config", str(night.config), "--date", "2024-03-11"]
    command += [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    ended = subprocess.run(
        [*command, "--root", str(night.root)], env={**os.environ, "TZ": zone}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    (out,) = (night.root / "stages" / "prepare").iterdir()
    found = pd.read_parquet(out / "interactions")
    bounds = found.groupby("split")["ts"].agg(["min", "max"]).map(lambda ts: str(pd.Timestamp(ts, unit="us")))
    assert bounds.loc["train"].tolist() == ["2024-03-08 00:00:00", "2024-03-09 23:00:00"]
    assert bounds.loc["valid"].tolist() == ["2024-03-10 00:00:00", "2024-03-10 23:00:00"]
    assert bounds.loc["test"].tolist() == ["2024-03-11 00:00:00", "2024-03-11 23:00:00"]
