"""A lock is held by one process, and by none that has ended."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from kdspark.errors import StageError
from kdspark.workspace import exclusive


def test_another_process_is_refused_until_the_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a" / "lock"
    code = "import sys, pathlib; from kdspark.workspace import exclusive\n"
    code += "with exclusive(pathlib.Path(sys.argv[1]), 'x'): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(StageError, match=r"This search is running in another process .*lock"),
            exclusive(path, "This search"),
        ):
            pass
        other.kill()
    with exclusive(path, "This search"):
        pass


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level("WARNING", "kdspark"), exclusive(tmp_path / "lock", "This search"):
        assert "no locks here (Operation not supported)" in caplog.text
