"""A real standalone cluster: the doctor looks at it, and a night by spark-submit gives what it gives in local mode.

That is bit by bit. Its students train on two processes: on the cluster through TorchDistributor, one per worker; in
local mode on this machine. Each process gets the same rows and the sum of two gradients has one order, so even the
weights are equal.
"""

import json
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.doctor.run import UNFIT
from kdspark.stages.results import latest_table
from tests.integration.cluster import REPOSITORY, standalone_cluster, submit
from tests.integration.nights import DATE, small_config, small_log, write_config
from tests.integration.test_night import night

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(1200)]  # two whole nights


def recommendations(root: Path) -> pd.DataFrame:
    rows = pd.read_parquet(latest_table(str(root)))
    return rows.sort_values(["user_id", "rank"]).reset_index(drop=True)


def barrier_tasks(cluster: Path) -> list[int]:
    """By executor, how many tasks of barrier stages it ran; nothing but training on several processes has such."""
    logs = sorted((cluster / "work").glob("app-*/*/stderr"))
    return [log.read_text().count("has entered the global sync") for log in logs]


def test_the_doctor_looks_at_all_executors(tmp_path: Path) -> None:
    """All is well but for a log that is not there."""
    root, log = tmp_path / "root", small_log(tmp_path, users=5)
    path = write_config(tmp_path / "night.yaml", small_config(log))
    log.unlink()
    with standalone_cluster(tmp_path / "cluster") as url:
        arguments = ["--config", str(path), "--root", str(root), "--json"]
        done = submit(url, REPOSITORY / "jobs" / "doctor.py", arguments, tmp_path / "cluster", REPOSITORY)
    assert done.returncode == UNFIT, done.stderr[-4000:]
    # the log comes first: spark-submit puts both into one stream
    found = {one["check"]: one for one in json.loads(done.stdout[done.stdout.index("[\n") :])}
    assert found["executors"]["found"] == "2 on 1 machines answered"
    status = {name: one["status"] for name, one in found.items() if name.startswith(("executors", "data."))}
    assert status.pop("data.interactions") == "FAIL"
    assert set(status.values()) == {"ok"}, found
    assert status.keys() >= {"executors' versions", "executors' --root", "executors' clocks", "executors' memory"}
    assert status.keys() >= {"data.users", "data.items"}
    assert list(root.iterdir()) == []


def test_cluster_equals_local(spark: SparkSession, tmp_path: Path) -> None:
    config = small_config(small_log(tmp_path, users=60))
    config["student"]["training"] = {**config["student"]["training"], "num_processes": 2}
    path = write_config(tmp_path / "night.yaml", config)
    night(spark, tmp_path / "local", config)
    with standalone_cluster(tmp_path / "cluster") as url:
        job = REPOSITORY / "jobs" / "nightly.py"
        arguments = ["--config", str(path), "--date", DATE, "--root", str(tmp_path / "root")]
        arguments += ["--set", "spark.settings={spark.sql.shuffle.partitions: '3'}"]
        done = submit(url, job, arguments, tmp_path / "cluster", REPOSITORY)
        assert done.returncode == 0, done.stderr[-4000:]
    assert barrier_tasks(tmp_path / "cluster") == [2, 2]  # both workers, for the plain student and the distilled one
    here, there = recommendations(tmp_path / "local"), recommendations(tmp_path / "root")
    pd.testing.assert_frame_equal(there, here, check_exact=True)  # model_version is a digest of the weights
