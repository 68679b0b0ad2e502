"""Scratch folders: private, gone with their process, and removed by the next one if it was killed."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kdspark.workspace.owners import owned
from kdspark.workspace.scratch import remove_left_scratch, scratch, scratch_until_exit

KILLED = """
import os, signal, sys
from kdspark.workspace import scratch_until_exit
folder = scratch_until_exit("kdspark-files", sys.argv[1])
(folder / "model").write_text("half")
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start(parent: Path, end: str) -> int:
    return subprocess.run([sys.executable, "-c", KILLED, str(parent), end]).returncode


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_is_private_and_goes(tmp_path: Path) -> None:
    with scratch("kdspark-model", tmp_path) as folder:
        (folder / "x").mkdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(tmp_path.iterdir()) == []
    assert start(tmp_path, "orderly") == 0
    assert list(tmp_path.iterdir()) == []


def test_fault_28_only_dead_processes_folders_are_removed(tmp_path: Path, dead: int) -> None:
    assert start(tmp_path, "killed") == -9
    (left,) = tmp_path.iterdir()
    living = tmp_path / owned("kdspark-files")
    other = tmp_path / owned("kdspark-model").replace(f"-{os.getpid()}-", f"-{dead}-")  # not what is asked for
    foreign = tmp_path / f"kdspark-files-{'0' * 8}-{dead}-{'0' * 8}"  # of another machine
    plain = tmp_path / "kdspark-files-of-somebody"
    for folder in (living, other, foreign, plain):
        folder.mkdir()
    aim = tmp_path / "aim"
    aim.mkdir()
    (aim / "kept").touch()
    link = tmp_path / left.name.replace(left.name[-8:], "0" * 8)
    link.symlink_to(aim)
    made = scratch_until_exit("kdspark-files", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([living, other, foreign, plain, aim, link, made])
    assert (aim / "kept").exists()
    os.utime(foreign, (0, 0))
    assert remove_left_scratch("kdspark-files", tmp_path) == [foreign]
