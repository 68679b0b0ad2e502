"""What a student's key is made of."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from kdspark.config import parse_config
from kdspark.errors import ConfigError
from kdspark.stages import student
from kdspark.stages.pipeline import stages_of
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace
from tests.config.test_load import minimal

STUDENTS = ("train_student", student.PLAIN, "refit_student")


def settings(root: Path, stage: str, *changes: str) -> Any:
    config = parse_config(minimal(), ["refit=true", *changes])
    night = Night(config, dt.date(2024, 1, 1), Workspace(root), lambda: pytest.fail("no session needed"))
    return stages_of(config)[stage].settings(night)


@pytest.mark.parametrize("stage", STUDENTS)
def test_copies_and_storage_are_named_where_they_are_not_the_default(tmp_path: Path, stage: str) -> None:
    plain = settings(tmp_path, stage)
    assert not {"copies", "storage"} & set(plain)
    changed = settings(tmp_path, stage, "student_copies=3", "student_storage=int8")
    assert changed == {**plain, "copies": 3, "storage": "int8"}


def test_a_twin_may_learn_otherwise_and_only_its_stage_knows(tmp_path: Path) -> None:
    change = "student_plain={kind: bag, dropout: 0.3, training: {epochs: 7}}"
    for stage in STUDENTS:
        before, after = (
            settings(tmp_path, stage, "student={kind: bag}"),
            settings(tmp_path, stage, "student={kind: bag}", change),
        )
        if stage == student.PLAIN:
            assert (after["student"]["dropout"], after["student"]["training"]["epochs"]) == (0.3, 7)
        else:
            assert before == after


@pytest.mark.parametrize("twin", ["{kind: bag, dim: 9}", "{kind: gru}"])
def test_a_twin_of_another_size_is_refused(tmp_path: Path, twin: str) -> None:
    with pytest.raises(ConfigError, match="student_plain"):
        settings(tmp_path, student.PLAIN, "student={kind: bag}", f"student_plain={twin}")


def test_a_twin_without_settings_of_its_own_keeps_its_best_weights(tmp_path: Path) -> None:
    last = "student={kind: bag, training: {epochs: 7, keep: last}}"
    student_settings, twin = (settings(tmp_path, stage, last)["student"] for stage in ("train_student", student.PLAIN))
    assert twin == {**student_settings, "training": {**student_settings["training"], "keep": "best"}}
