"""Spark's own scratch folders: marked while their driver lives, removed when it is gone."""

import os
import subprocess
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from kdspark.spark import local_dirs
from kdspark.workspace.owners import owned


def test_a_sessions_folders_are_marked(spark: SparkSession) -> None:
    local_dirs.mark(spark)  # again, as a second session of this process does
    folders = local_dirs.folders_of(spark)
    assert len(folders) >= 2
    for folder in folders:
        (mark,) = folder.glob(".kdspark-driver-*")
        assert f"-{os.getpid()}-" in mark.name
        assert folder not in local_dirs.remove_left(folder.parent)
        assert folder.is_dir()


def test_fault_28_of_marked_folders_those_of_dead_drivers_go(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    mark = owned(".kdspark-driver")
    dead = mark.replace(f"-{os.getpid()}-", f"-{process.pid}-")
    for name, file in {"blockmgr-1": dead, "spark-1": dead, "blockmgr-2": mark, "spark-2": "x", "mine": dead}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    (tmp_path / "spark-3").symlink_to(tmp_path / "mine")
    assert sorted(path.name for path in local_dirs.remove_left(tmp_path)) == ["blockmgr-1", "spark-1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blockmgr-2", "mine", "spark-2", "spark-3"]
