"""Crashes on the way to the readers: faults 1 to 7, and 12.

What a kill leaves of the protocol itself, without a night around it, is in tests/workspace/test_published.py.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.nights import DATE, NEXT, SPARK, STAGES, FaultyNight, end_group
from tests.stages.tiny import tiny_config

pytestmark = pytest.mark.slow
Rows = list[tuple[Any, ...]]

EVERY_PLACE = [
    *(f"{stage}.{when}" for stage in STAGES for when in ("start", "built", "manifest", "finished")),
    *("train_teacher:checkpoint.tensors", "train_student:checkpoint.saved"),
    *("publish.copied", "publish.renamed", "publish.latest", "publish.done"),
]


def test_fault_01_killed_while_scoring(night: FaultyNight, gold: Rows) -> None:
    process = night.start(fail="recommendations.task=sleep:60")
    night.wait_for("score          starting")
    time.sleep(2)
    os.kill(process.pid, signal.SIGKILL)
    end_group(process)
    assert night.tree == {}
    again = night.run()
    assert again.code == 0, again.log
    for stage in STAGES[: STAGES.index("score")]:
        assert any(line.split()[2:3] == [stage] and "reused" in line for line in again.log.splitlines()), again.log
    assert night.rows == gold
    assert not list(night.root.rglob("staging-*"))


@pytest.mark.faults
@pytest.mark.parametrize("place", EVERY_PLACE)
def test_fault_02_killed_at_every_place(
    night: FaultyNight, gold: Rows, uninterrupted: tuple[FaultyNight, float], place: str
) -> None:
    """In a night that goes on from the stages before: from the start, it would be killed in the same way, but later."""
    stage, _, name = place.rpartition(":")
    night.go_on_from(uninterrupted[0], stage or name.partition(".")[0])
    killed = night.run(fail=f"{name}=kill")
    assert killed.code == -signal.SIGKILL, killed.log
    night.check_finished_as(gold)


@pytest.mark.faults
def test_fault_03_killed_while_a_checkpoint_is_saved(tmp_path: Path) -> None:
    models = {
        name: {**model, "training": {"epochs": 4, "learning_rate": 0.05}}
        for name, model in tiny_config(tmp_path).items()
        if name in ("teacher", "student")
    }
    whole, night = FaultyNight(tmp_path / "whole", **models), FaultyNight(tmp_path / "killed", **models)
    assert whole.run().code == 0
    gold = whole.rows
    killed = night.run(fail="step-000000002.safetensors.written=kill")
    assert killed.code == -signal.SIGKILL, killed.log
    saved = {path.name for path in (night.root / "checkpoints").rglob("step-*")}
    assert any(".tmp-" in name for name in saved)
    assert any(name.endswith("1.json") for name in saved)
    again = night.run()
    assert again.code == 0, again.log
    assert "resumed after 1 epochs" in again.log
    assert night.rows == gold
    assert not list(night.root.rglob("*.tmp-*"))


@pytest.mark.faults
def test_fault_05_two_runs_of_one_date(night: FaultyNight, gold: Rows) -> None:
    first = night.start(fail="prepare.start=sleep:15")
    night.wait_for("prepare        starting")
    log, before = night.log, sorted(night.root.rglob("*"))
    second = night.run()
    assert second.code == 8
    assert len(second.errors) == 1
    assert f"is being run by process {first.pid}" in second.errors[0]
    assert sorted(night.root.rglob("*")) == before
    first.wait(120)
    assert first.returncode == 0, log.read_text()
    assert night.rows == gold


@pytest.mark.faults
def test_fault_06_a_published_date_again(night: FaultyNight, gold: Rows) -> None:
    assert night.run().code == 0
    tree = night.tree
    again = night.run()
    assert again.code == 0
    assert "nothing to do" in again.log
    assert "starting" not in again.log
    assert night.tree == tree
    forced = night.run("--force")
    assert forced.code == 0, forced.log
    assert tree.items() - night.tree.items() == {
        (name, digest) for name, digest in tree.items() if name.endswith("latest.json")
    }
    runs = json.loads(night.ask("runs", "--json").log)
    assert [run["latest"] for run in runs] == [False, True]
    assert runs[1]["run"] == f"{runs[0]['run']}-2"
    assert night.rows == gold
    back = night.ask("rollback")
    assert back.code == 0, back.log
    latest = [name for name, digest in tree.items() if name.endswith("latest.json")]
    assert json.loads((night.root / latest[0]).read_text())["run_id"] == runs[0]["run"]
    assert night.ask("verify", "--all").log.startswith("Published runs: 2")


@pytest.mark.faults
def test_fault_07_a_backfill_does_not_move_latest(night: FaultyNight) -> None:
    assert night.run(date=NEXT).code == 0
    pointer = (night.root / "latest.json").read_bytes()
    filled = night.run(date=DATE)
    assert filled.code == 0, filled.log
    assert (night.root / "latest.json").read_bytes() == pointer
    assert (night.root / "published" / DATE / "latest.json").exists()


@pytest.mark.parametrize(
    "place", [pytest.param("train_student.start", marks=pytest.mark.faults), "recommendations.task"]
)
def test_fault_12_sigterm(tmp_path: Path, place: str) -> None:
    scratch = tmp_path / "scratch"
    night = FaultyNight(
        tmp_path / "night", spark={**SPARK, "settings": {**SPARK["settings"], "spark.local.dir": str(scratch)}}
    )
    process = night.start(fail=f"{place}=sleep:300")
    night.wait_for("score          starting" if "task" in place else "train_student  starting")
    time.sleep(3)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert process.returncode == 143, night.log.read_text()
    assert "stopped by SIGTERM" in night.log.read_text()
    while left := in_session(process.pid):
        assert time.monotonic() - began < 30, left
        time.sleep(0.2)
    assert night.tree == {}
    assert not list(night.root.rglob("staging-*"))
    assert not list(night.root.rglob("leases/*.json"))
    assert list(scratch.iterdir()) == []


def in_session(session: int) -> list[str]:
    """The command lines of all processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((folder / "cmdline").read_text(errors="replace"))
        except OSError:
            continue
    return found
