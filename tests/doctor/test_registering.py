"""How long the doctor waits for executors: until there are as many as there should be, or no more come."""

from types import SimpleNamespace
from typing import Any

import pytest

from kdspark.doctor import cluster, registering
from kdspark.doctor.check import Patient
from kdspark.doctor.registering import wait_for_executors
from kdspark.errors import StageError
from tests.doctor.test_doctor import only


def session(**settings: str) -> Any:
    said = {f"spark.{name.replace('_', '.')}": value for name, value in settings.items()}
    conf = {"spark.master": "spark://here:7077", **said}
    return SimpleNamespace(sparkContext=SimpleNamespace(getConf=lambda: SimpleNamespace(getAll=conf.items)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Times at which it was asked how many there are; a clock that goes on by a second whenever it is."""
    found: list[int] = []
    monkeypatch.setattr(registering, "time", SimpleNamespace(monotonic=lambda: float(len(found)), sleep=lambda _: None))
    return found


def coming(monkeypatch: pytest.MonkeyPatch, asked: list[int], *at: int) -> None:
    """Let executors register at these seconds."""

    def registered(_: object) -> int:
        asked.append(len(asked))
        return sum(second <= asked[-1] for second in at)

    monkeypatch.setattr(registering, "_registered", registered)


def test_as_many_as_there_should_be(monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> None:
    coming(monkeypatch, asked, 2, 3, 30, 31)
    assert wait_for_executors(session(executor_instances="3")) == 3
    assert asked[-1] == 30


def test_until_no_more_come(monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> None:
    coming(monkeypatch, asked, 20, 25)
    assert wait_for_executors(session()) == 0
    assert 34 <= asked[-1] <= 36


def test_some_do_not_come(monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> None:
    coming(monkeypatch, asked, 1)
    assert wait_for_executors(session(executor_instances="2")) == 2
    assert 58 <= asked[-1] <= 61
    answer = {"host": "a", "executor": 7, "scratch": "", "time": 0.0, "memory": 1 << 40, "python": "3", "packages": {}}
    patient = Patient(None, None, lambda _: pytest.fail("no session needed"))
    found = only([next(cluster.judged(patient, [answer], None, 0.0, 1.0, 2))])
    assert (found.status, found.found) == ("warning", "1 on 1 machines answered, of 2")


def test_none_comes(monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> None:
    coming(monkeypatch, asked)
    with pytest.raises(StageError, match="No executor has registered within 60 s"):
        wait_for_executors(session())


@pytest.mark.parametrize("settings", [{"master": "local[2,4]"}, {"dynamicAllocation_enabled": "true"}])
def test_where_executors_come_with_the_work(
    monkeypatch: pytest.MonkeyPatch, asked: list[int], settings: dict[str, str]
) -> None:
    coming(monkeypatch, asked)
    assert wait_for_executors(session(**settings)) == 0
    assert asked == []
