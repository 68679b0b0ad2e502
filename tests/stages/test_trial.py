"""A trial: which stages it takes, with which seeds, and what its failures are."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from torch import OutOfMemoryError

from kdspark.config import parse_config
from kdspark.config.search import SearchConfig
from kdspark.errors import ConfigError, TrainingError
from kdspark.stages.pipeline import stages_of
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night, Outcome, Stage, Task
from kdspark.stages.trial import TARGETS, Trials, _with_seed, stages_up_to
from kdspark.workspace import Workspace
from tests.config.test_load import minimal


def night(root: Path) -> Night:
    return Night(
        parse_config(minimal()), dt.date(2024, 1, 1), Workspace(root), lambda: pytest.fail("no session needed")
    )


def trials(root: Path) -> Trials:
    search = SearchConfig.model_validate({"fields": {"student.dim": {"choices": [4, 8]}}})
    return Trials(night(root), minimal(), search)


@pytest.mark.parametrize(
    ("target", "stages"),
    [
        ("student", ["prepare", "train_teacher", "soft_labels", "train_student"]),
        ("student_plain", ["prepare", "train_plain"]),
        ("teacher", ["prepare", "train_teacher"]),
    ],
)
def test_only_what_the_target_needs_is_run(target: Any, stages: list[str]) -> None:
    config = parse_config(minimal(), ["refit=true"])
    assert stages_up_to(TARGETS[target], stages_of(config)) == stages


def test_a_repeat_has_another_key_and_seed_but_the_same_inputs(tmp_path: Path) -> None:
    seeds: list[int] = []

    def build(task: Task) -> Outcome:
        seeds.append(task.night.config.seed)
        return Outcome()

    a = Stage("a", "verb", (), lambda night: 0, build)
    b = Stage("b", "verb", ("a",), lambda night: 0, build)
    first, second = (Runner(night(tmp_path), {"a": a, "b": stage}) for stage in (b, _with_seed(b, 99)))
    assert first.key("a") == second.key("a")
    assert first.key("b") != second.key("b")
    first.run(["a", "b"])
    second.run(["a", "b"])
    assert seeds == [42, 42, 99]


def test_values_that_do_not_fit_are_a_config_error_and_leave_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"these values: `student\.gru\.dim`"):
        trials(tmp_path).measure({"student.dim": -1})


@pytest.mark.parametrize("error", [OutOfMemoryError("CUDA out of memory.\nMore."), MemoryError()])
def test_too_little_memory_is_a_failure_of_these_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Runner, "run", fail)
    with pytest.raises(TrainingError, match=r"(?i)need more memory: (CUDA )?out of memory\.? Leave"):
        trials(tmp_path).measure({"student.dim": 4})


@pytest.mark.parametrize(
    ("changes", "alike"),
    [
        ([], True),
        (["student_storage=int8"], False),
        (["student.training.valid_k=5"], False),
    ],
)
def test_a_students_own_validation_counts_if_it_is_of_what_is_stored(
    tmp_path: Path, changes: list[str], alike: bool
) -> None:
    assert trials(tmp_path)._validates_alike(parse_config(minimal(), changes)) == alike


@pytest.mark.parametrize("key", ["student_copies", "student_storage"])
def test_copies_and_storage_are_the_students(key: str) -> None:
    fields = {key: {"choices": [1, 2]}}
    for target in ("student", "student_plain"):
        SearchConfig.model_validate({"fields": fields, "target": target})
    with pytest.raises(ValueError, match="does nothing for `target: teacher`"):
        SearchConfig.model_validate({"fields": fields, "target": "teacher"})
