"""A place fails as told, and only then."""

import signal
import subprocess
import sys
import time

import pytest

from kdspark.failpoints import VARIABLE, FailpointError, reached


def test_nothing_happens_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    reached("score.built")
    monkeypatch.setenv(VARIABLE, "score.built=raise")
    reached("score.build")
    with pytest.raises(FailpointError, match=r"score\.built"):
        reached("score.built")


def test_actions_of_several_places_and_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " a=raise@1 ;b=sleep:0.05; c=explode")
    reached("a", attempt=0)
    with pytest.raises(FailpointError):
        reached("a", attempt=1)
    before = time.monotonic()
    reached("b", attempt=3)
    assert time.monotonic() - before >= 0.05
    with pytest.raises(ValueError, match="no such action"):
        reached("c")


def test_kill_is_sigkill() -> None:
    code = f"import os; os.environ[{VARIABLE!r}] = 'x=kill'; from kdspark.failpoints import reached; reached('x')"
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
