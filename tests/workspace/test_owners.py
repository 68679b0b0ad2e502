"""What a dead process left is told from what a live one is writing."""

import os
import subprocess
import sys
import time
from pathlib import Path

from kdspark.workspace import owners
from kdspark.workspace.owners import is_left, is_running, owned


def test_of_this_process_nothing_is_left_and_of_a_dead_one_all(tmp_path: Path) -> None:
    code = "from kdspark.workspace.owners import owned; print(owned('a-b'))"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert is_left(tmp_path / dead)
    assert not is_left(tmp_path / owned("a-b"))
    assert owned("x") != owned("x")
    for name in ("a-b", "staging-0123456789abcdef0123", "part-00000.parquet", f"x-{os.getpid()}-01234567"):
        assert not is_left(tmp_path / name)


def test_of_another_machine_after_a_week(tmp_path: Path) -> None:
    path = tmp_path / "x-00000000-1-01234567"
    assert not is_left(path)  # gone
    path.mkdir()
    assert not is_left(path)
    week = time.time() - owners._FOREIGN_S - 1
    os.utime(path, (week, week))
    assert is_left(path)


def test_processes() -> None:
    assert is_running(os.getpid())
    assert is_running(1)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert not is_running(ended.pid)
