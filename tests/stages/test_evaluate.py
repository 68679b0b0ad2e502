"""What the comparison depends on: everything it shows."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from kdspark.config import parse_config
from kdspark.stages.pipeline import stages_of
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace
from tests.config.test_load import minimal

# All but prepare, whose settings list files through Spark and do not name the night.
STAGES = ["baselines", "train_teacher", "soft_labels", "train_plain", "train_student", "score", "evaluate", "publish"]


def settings(root: Path, stage: str, **changes: str) -> Any:
    """What a stage's key is made of, beside its inputs."""
    config = parse_config(minimal(), [f"{key}={value}" for key, value in changes.items()])
    night = Night(config, dt.date(2024, 1, 1), Workspace(root), lambda: pytest.fail("no session needed"))
    return stages_of(config)[stage].settings(night)


def test_another_name_is_compared_again_and_nothing_before_it_runs_again(tmp_path: Path) -> None:
    named, renamed = ({name: settings(tmp_path, name, name=night) for name in STAGES} for night in ("one", "two"))
    assert {name for name in STAGES if named[name] != renamed[name]} == {"evaluate"}
