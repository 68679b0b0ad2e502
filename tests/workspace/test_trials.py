"""Where trials keep their stages: shared with the nights what is theirs, and little of the rest."""

import os
from pathlib import Path

import pytest

from kdspark.workspace import Manifest, TrialWorkspace, Workspace


def build(workspace: Workspace, stage: str, key: str) -> Path:
    with workspace.staging(stage, key) as out:
        (out / "part").write_text(key)
        return workspace.finish(out, Manifest(stage, key, {}, {}))


@pytest.fixture
def trials(tmp_path: Path) -> TrialWorkspace:
    return TrialWorkspace(tmp_path, tmp_path / "search" / "s", ["base"])


def test_what_the_configuration_builds_is_the_nights_too(trials: TrialWorkspace, tmp_path: Path) -> None:
    assert build(trials, "prepare", "base") == tmp_path / "stages" / "prepare" / "base"
    assert Workspace(tmp_path).finished("prepare", "base") is not None
    assert trials.checkpoints("prepare", "base") == Workspace(tmp_path).checkpoints("prepare", "base")


def test_a_trials_own_stages_lie_apart(trials: TrialWorkspace, tmp_path: Path) -> None:
    own = tmp_path / "search" / "s"
    assert build(trials, "train", "other") == own / "stages" / "train" / "other"
    assert trials.finished("train", "other") is not None
    assert Workspace(tmp_path).finished("train", "other") is None
    assert own in trials.checkpoints("train", "other").parents
    assert not (tmp_path / "stages").exists()


def test_what_a_night_has_finished_is_found(trials: TrialWorkspace, tmp_path: Path) -> None:
    folder = build(Workspace(tmp_path), "train", "nightly")
    assert trials.finished("train", "nightly") is not None
    assert trials.stage_folder("train", "nightly") == folder


def test_trim_keeps_what_was_used_last(trials: TrialWorkspace, tmp_path: Path) -> None:
    own = tmp_path / "search" / "s"
    for second, key in enumerate("abc"):
        folder = build(trials, "train", key)
        os.utime(folder, (second, second))
    build(trials, "labels", "a")
    build(trials, "train", "base")
    (own / "stages" / "train" / "staging-d-0").mkdir()
    trials.checkpoints("train", "c").mkdir(parents=True)
    trials.checkpoints("train", "base").mkdir(parents=True)
    assert trials.finished("train", "a") is not None  # used again
    trials.trim(2)
    left = {path.name for path in (own / "stages" / "train").iterdir()}
    assert left == {"a", "c"}
    assert trials.finished("labels", "a") is not None
    assert trials.finished("train", "base") is not None
    assert not trials.checkpoints("train", "c").exists()
    assert trials.checkpoints("train", "base").exists()
