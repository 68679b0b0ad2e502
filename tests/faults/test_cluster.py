"""Executors and workers that die, tasks that run twice, and a cluster for one machine: faults 9, 10, 11 and 29."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cluster import Cluster
from tests.faults.nights import FaultyNight, end_group

pytestmark = [pytest.mark.slow, pytest.mark.faults]
Rows = list[tuple[Any, ...]]

SPECULATION = {
    "speculation": "true",
    "speculation__interval": "200ms",
    "speculation__quantile": "0.5",
    "speculation__task__duration__threshold": "3s",  # of a stage of one task, which has no other to be slower than
}


@pytest.mark.cluster
@pytest.mark.parametrize("table", ["soft_labels", "recommendations"])
def test_fault_09_an_executor_is_killed(cluster: Cluster, tmp_path: Path, gold: Rows, table: str) -> None:
    night = cluster.night(tmp_path)
    running = night.start(fail=f"{table}.task=sleep:5@0")
    try:
        os.kill(night.executor_at(f"{table}.task"), signal.SIGKILL)
        running.wait(300)
    finally:
        end_group(running)
    assert running.returncode == 0, night.log.read_text()
    assert night.rows == gold


@pytest.mark.parametrize("where", ["local", pytest.param("cluster", marks=pytest.mark.cluster)])
def test_fault_10_a_worker_dies_in_its_first_attempt(
    request: pytest.FixtureRequest, tmp_path: Path, gold: Rows, where: str
) -> None:
    night = FaultyNight(tmp_path) if where == "local" else request.getfixturevalue("cluster").night(tmp_path)
    ended = night.run(fail="examples_train.task=kill@0; soft_labels.task=kill@0; recommendations.task=kill@0")
    assert ended.code == 0, ended.log
    for place in ("examples_train.task", "soft_labels.task", "recommendations.task"):
        assert night.logs_of(place) if where == "cluster" else f"failpoint {place}=kill@0" in ended.log
    assert night.rows == gold


@pytest.mark.parametrize("table", ["soft_labels", "recommendations"])
def test_fault_10_a_worker_dies_in_every_attempt(tmp_path: Path, table: str) -> None:
    night = FaultyNight(tmp_path)
    ended = night.run(fail=f"{table}.task=kill")
    assert ended.code == 4, ended.log
    assert len(ended.errors) == 1
    stage = "score" if table == "recommendations" else table
    assert f"Stage {stage}: a Python worker died in every attempt" in ended.errors[0]
    assert "spark.executor.memoryOverhead" in ended.errors[0]
    told = [line for line in ended.log.splitlines() if not line.startswith("failpoint ")]  # by a worker that dies later
    assert told[-1].endswith(ended.errors[0])  # of the traces before it all are Spark's and its workers'
    assert "kdspark/cli.py" not in ended.log
    assert night.tree == {}
    assert not list(night.root.rglob("staging-*"))


@pytest.mark.cluster
def test_fault_11_speculation(cluster: Cluster, tmp_path: Path, gold: Rows) -> None:
    """One attempt sleeps before it writes, another when it has written everything: a second one overtakes each."""
    night = cluster.night(tmp_path, **SPECULATION)
    asleep = ("soft_labels.written-3", "recommendations.task")
    ended = night.run(fail="; ".join(f"{place}=sleep:60@0" for place in asleep))
    assert ended.code == 0, ended.log
    assert all(night.logs_of(place) for place in asleep)
    for stage in ("soft_labels", "score"):
        assert float(re.search(rf"I {stage} .* ([\d.]+) s -> ", ended.log)[1]) < 60, ended.log
    assert night.rows == gold
    assert not list(night.root.rglob(".attempts*"))


@pytest.mark.cluster
def test_fault_29_rows_on_a_cluster(cluster: Cluster, tmp_path: Path, gold: Rows) -> None:
    night = cluster.night(tmp_path, sql__shuffle__partitions="5")
    ended = night.run()
    assert ended.code == 0, ended.log
    assert night.rows == gold
