"""What a student's key is made of."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from kdspark.config import parse_config
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
