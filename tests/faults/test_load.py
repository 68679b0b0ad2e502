"""Loads and limits: one user with nearly the whole log, caps on memory, threads, growth: faults 31 to 34."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdspark.spark.io import count_rows
from tests.faults.cluster import Cluster
from tests.faults.nights import SPARK, FaultyNight

pytestmark = [pytest.mark.slow, pytest.mark.faults]
Rows = list[tuple[Any, ...]]
REPOSITORY = Path(__file__).parents[2]
BOUNDED = {"spark.driver.maxResultSize": "16m", "spark.sql.autoBroadcastJoinThreshold": "-1"}

EVENTS, USERS, ITEMS, HEAVY = 5_000_000, 100_000, 20_000, 0.9
CAP = "spark.executor.pyspark.memory"


@pytest.mark.timeout(1500)
def test_fault_31_a_user_with_nearly_all_events(tmp_path: Path) -> None:
    """Every event is kept, also a user's repeats on an item: nothing but the cap on histories keeps rows short."""
    found = {}
    for kind, share in (("uniform", 0.0), ("heavy", HEAVY)):
        night = FaultyNight(
            tmp_path / kind,
            data={
                "interactions": {"paths": str(_log(tmp_path / kind, share))},
                "columns": {"user": "u", "item": "i", "timestamp": "t"},
                "filters": {"repeats": "all"},
            },
            spark={**SPARK, "settings": {**SPARK["settings"], **BOUNDED}},
        )
        found[kind] = _measured("prepare", night.config, night.root)
        (out,) = (night.root / "stages" / "prepare").iterdir()
        assert count_rows(out / "interactions") == EVENTS
    print(found)
    for what in ("seconds", "workers"):
        assert found["heavy"][what] <= 3 * found["uniform"][what], found
    assert found["heavy"]["jvm"] < 2, found
    users = pq.read_table(out / "users_full", columns=["n_events", "history"]).sort_by([("n_events", "descending")])
    assert users["n_events"][0].as_py() == EVENTS * HEAVY
    assert len(users["history"][0]) == 100
    heaviest = pq.read_table(out / "examples_train", columns=["user_idx"])["user_idx"].value_counts().field(1)
    assert max(heaviest.to_pylist()) <= 100


def _log(folder: Path, share: float) -> Path:
    """Events of distinct times; a share of them is one user's, the others' users and all items are drawn evenly."""
    generator, path = np.random.default_rng(0), folder / "log.parquet"
    users = generator.integers(1, USERS, EVENTS)
    users[generator.permutation(EVENTS)[: int(EVENTS * share)]] = 0
    columns = {"u": users, "i": generator.integers(0, ITEMS, EVENTS), "t": 1_690_000_000 + np.arange(EVENTS)}
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), path, row_group_size=1 << 19)
    return path


@pytest.mark.cluster
def test_fault_32_a_night_under_a_cap_on_workers_memory(cluster: Cluster, tmp_path: Path, gold: Rows) -> None:
    night = cluster.night(tmp_path, executor__pyspark__memory="2g")
    ended = night.run()
    assert ended.code == 0, ended.log
    assert night.rows == gold


@pytest.mark.cluster
@pytest.mark.parametrize("cap", ["600m", "800m"])  # torch finds no room, or what is loaded after it
def test_fault_32_a_cap_that_is_too_low_is_named(cluster: Cluster, tmp_path: Path, cap: str) -> None:
    night = cluster.night(tmp_path, executor__pyspark__memory=cap)
    ended = night.run()
    assert ended.code == 4, ended.log
    assert len(ended.errors) == 1
    assert f"{CAP}, which is {cap}" in ended.errors[0]
    assert "Stage soft_labels: a Python worker" in ended.errors[0]
    assert "Traceback" not in ended.log
    assert night.tree == {}


def test_fault_33_a_bounded_driver(tmp_path: Path, gold: Rows) -> None:
    night = FaultyNight(tmp_path, spark={**SPARK, "settings": {**SPARK["settings"], **BOUNDED}})
    ended = night.run()
    assert ended.code == 0, ended.log
    assert night.rows == gold


def test_fault_33_a_driver_that_may_take_in_next_to_nothing(tmp_path: Path) -> None:
    little = {"spark.driver.maxResultSize": "1k"}
    night = FaultyNight(tmp_path, spark={**SPARK, "settings": {**SPARK["settings"], **little}})
    ended = night.run()
    assert ended.code == 4, ended.log
    (error,) = ended.errors
    assert "Stage prepare: executors sent the driver more than it may take in (Total size of serialized" in error
    assert "Raise spark.driver.maxResultSize" in error
    assert ended.log.rstrip().endswith(error)
    assert night.tree == {}


@pytest.mark.parametrize("cpus", [1, 2])
def test_fault_34_threads_in_workers_are_the_tasks_cpus(cpus: int) -> None:
    """Spark itself says so by OMP_NUM_THREADS, unless the operator has said otherwise, as here."""
    told = "--conf spark.executorEnv.OMP_NUM_THREADS=7 pyspark-shell"
    found = _measured("threads", cpus, PYSPARK_SUBMIT_ARGS=told)
    assert found == {"torch": [cpus], "tasks": 4}


def test_fault_34_scoring_time_is_linear_in_users(tmp_path: Path) -> None:
    seconds = _measured("scoring", tmp_path)
    print(seconds)
    one, two, four = (seconds[scale] for scale in ("1", "2", "4"))
    assert two <= 1.3 * 2 * one
    assert four <= 1.3 * 4 * one
    assert four <= 1.3 * 2 * two


def test_fault_34_runs_in_one_process_leave_nothing(tmp_path: Path) -> None:
    runs = _measured("nights", tmp_path)
    print(runs)
    files, mib = [run["files"] for run in runs], [run["mib"] for run in runs]
    assert len(runs) == 5
    assert files[-1] <= files[1]
    assert mib[-1] - mib[1] < 0.1 * mib[1]


def _measured(what: str, *arguments: object, **environment: str) -> Any:
    """What `tests.faults.measured` prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.measured", what, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
