"""A loader that loses rows, hangs, or is killed: faults 26 to 28.

The feed alone is in tests/distill/test_feed.py, the watchdog in tests/test_watchdog.py, the scratch folders in
tests/workspace/test_scratch.py.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.distill import petastorm_reader
from kdspark.distill.feed import ParquetFeed
from kdspark.errors import KdsparkError, StalledError, TrainingError
from kdspark.stages.runner import Runner
from kdspark.workspace.owners import owned
from tests.faults.nights import FaultyNight, end_group
from tests.faults.test_crash import in_session
from tests.stages.tiny import runner_of, tiny_config

pytestmark = pytest.mark.slow
ROWS, GROUP = 2000, 50


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    users = pa.table({tables.USER_IDX: np.arange(ROWS, dtype=np.int32)})
    for part, start in enumerate(range(0, ROWS, ROWS // 4)):
        pq.write_table(users.slice(start, ROWS // 4), folder / f"part-{part}.parquet", row_group_size=GROUP)
    return folder


def test_fault_26_sixty_epochs_have_every_row_once(table: Path) -> None:
    """Read from the disk in every epoch, since the buffer holds a tenth of the rows."""
    feed = ParquetFeed(table, [tables.USER_IDX], 64, seed=1, expected_rows=ROWS, buffer_rows=ROWS // 10)
    orders = [torch.cat([batch[tables.USER_IDX] for batch in feed.epoch(epoch)]).numpy() for epoch in range(60)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(ROWS))
    assert len({order.tobytes() for order in orders}) == 60


@pytest.fixture(scope="module")
def prepared(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A night whose tables are there, and whose loader has a second for a row group."""
    folder = tmp_path_factory.mktemp("prepared")
    runner = runner_of(spark, folder / "root", tiny_config(folder, loader={"stall_seconds": 1.0}))
    runner.run(["prepare"])
    return runner


@pytest.mark.parametrize(
    ("harm", "kind", "words"),
    [("lose", TrainingError, r"\d+ rows arrived of \d+"), ("hang", StalledError, "no data within 1 s")],
)
def test_faults_26_and_27_training_stops_and_nothing_is_kept(
    prepared: Runner, monkeypatch: pytest.MonkeyPatch, harm: str, kind: type[KdsparkError], words: str
) -> None:
    read = petastorm_reader._ColumnWorker.process
    groups: list[int] = []

    def process(self: Any, piece_index: int, *arguments: Any, **named: Any) -> None:
        groups.append(piece_index)
        if len(groups) == 3 and harm == "hang":
            time.sleep(4)
        elif len(groups) != 3:
            read(self, piece_index, *arguments, **named)

    monkeypatch.setattr(petastorm_reader._ColumnWorker, "process", process)
    with pytest.raises(kind, match=words):
        prepared.run(["train_plain"])
    assert len(groups) >= 3
    assert list((prepared.night.workspace.root / "stages" / "train_plain").iterdir()) == []


@pytest.mark.faults
def test_fault_27_a_loader_that_hangs_ends_the_night(tmp_path: Path, gold: list[tuple[Any, ...]]) -> None:
    night = FaultyNight(tmp_path, loader={"stall_seconds": 3.0})
    process = night.start(fail="loader.row_group=sleep:600")
    night.wait_for("stalled; stacks of all threads")
    began = time.monotonic()
    process.wait(60)
    assert process.returncode == 5, night.log.read_text()
    while left := in_session(process.pid):
        assert time.monotonic() - began < 30, left
        time.sleep(0.2)
    log = night.log.read_text()
    (line,) = [line for line in log.splitlines() if line.startswith("kdspark: error:")]
    assert "no data within 3 s" in line
    assert str(night.root) in line
    assert "petastorm_reader.py" in log  # a stack
    assert "Traceback" not in log
    assert night.tree == {}
    assert not list(night.root.rglob("staging-*"))
    assert not list(night.root.rglob("leases/*.json"))
    assert night.run().code == 0
    assert night.rows == gold


@pytest.mark.faults
def test_fault_28_the_next_start_removes_what_a_killed_loader_left(
    tmp_path: Path, gold: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the night is killed at once, the JVM too, as by a machine that goes off."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(place))
    living = place / owned("kdspark-files")  # of this process
    living.mkdir()
    night = FaultyNight(tmp_path / "night")
    process = night.start(fail="recommendations.task=sleep:60")
    night.wait_for("score          starting")
    time.sleep(3)
    os.killpg(process.pid, signal.SIGSTOP)  # else the JVM tidies up while the driver dies
    end_group(process)
    named = [path for path in place.iterdir() if path != living]
    assert any(path.name.startswith("kdspark-files-") for path in named)
    assert any(path.name.startswith("blockmgr-") for path in named)
    again = night.run()
    assert again.code == 0, again.log
    assert night.rows == gold
    kept = [path for path in named if path.exists() and path.name.startswith(("kdspark-", "blockmgr-", "spark-"))]
    assert kept == []
    assert living.is_dir()
