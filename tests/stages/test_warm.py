"""Which earlier student a night starts from, and a second night that does so."""

import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from pyspark.sql import SparkSession
from safetensors.torch import load_file

from kdspark.bridge import warm as bridge_warm
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import Request
from kdspark.config import parse_config
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.build import build_model
from kdspark.models.ensemble import Ensemble
from kdspark.models.storage import describe_folder, load_model, save_model
from kdspark.stages import student, warm
from kdspark.stages.pipeline import stages_of
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night, Task
from kdspark.workspace import LocalStore, Manifest, Publication, Workspace, digest_of, read_json
from tests.config.test_load import minimal

MONDAY, TUESDAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
COMPARED = ("train_student", "train_plain")
STUDENT = ["student={kind: mf, dim: 4}", "warm_start={}"]


def night_of(root: Path, *changes: str, date: dt.date = TUESDAY) -> Night:
    config = parse_config(minimal(), [*STUDENT, *changes])
    return Night(config, date, Workspace(root), lambda: pytest.fail("no session needed"))


def finish(workspace: Workspace, stage: str, inputs: dict[str, str], settings: Any = None, model: Any = None) -> str:
    key = digest_of([stage, "a key"])
    with workspace.staging(stage, key) as out:
        if model is not None:
            save_model(model, out / "model")
        workspace.finish(out, Manifest(stage, key, inputs, {"settings": settings, "seed": 42}))
    return key


def publish_monday(root: Path, *changes: str, refit: bool = False, copies: int = 1) -> dict[str, str]:
    """A published night as its folders tell of it; returns stage -> key."""
    night = night_of(root, *changes, date=MONDAY)
    workspace, keys = night.workspace, {}
    data = night.config.data.model_dump(mode="json")
    keys["prepare"] = finish(workspace, "prepare", {}, {"data": data, "files": {}})
    for seed, name in enumerate((*COMPARED, *(["refit_student"] if refit else []))):
        items = ItemTable.without_features(np.ones(5, int))
        config = night.config.student_plain if name == student.PLAIN else None
        models = [
            build_model(config or night.config.student, 3, 5, items, FeatureSizes(), seed + 9 * n)
            for n in range(copies)
        ]
        model = models[0] if copies == 1 else Ensemble(models, None, items)
        keys[name] = finish(workspace, name, {"prepare": keys["prepare"]}, model=model)
    keys["evaluate"] = finish(workspace, "evaluate", {name: keys[name] for name in ("prepare", *COMPARED)})
    scored = "refit_student" if refit else "train_student"
    keys["score"] = finish(workspace, "score", {"prepare": keys["prepare"], scored: keys[scored]})
    staged = root / "staged"
    staged.mkdir()
    named = {name: workspace.stage_folder(name, keys[name]).name for name in ("prepare", "score", "evaluate")}
    Publication(LocalStore(workspace.root)).publish(MONDAY, "run", staged, {"stages": named})
    return keys


def settings(night: Night, stage: str = "train_student") -> dict[str, Any]:
    found: dict[str, Any] = warm.settings(night, COMPARED, stage)["warm_start"]
    return found


@pytest.mark.parametrize("stage", COMPARED)
def test_each_starts_from_its_own_and_the_key_says_which(tmp_path: Path, stage: str) -> None:
    keys = publish_monday(tmp_path)
    night = night_of(tmp_path)
    found = settings(night, stage)
    folder = night.workspace.stage_folder(stage, keys[stage]) / "model"
    sha256 = describe_folder(folder)["sha256"]
    assert found["origin"] == {"run": "2024-01-01/run", "stage": stage, "key": keys[stage], "sha256": sha256}
    assert (found["share"], found["rate"], found["reason"]) == (1 / 3, 1.0, None)
    of_stage = stages_of(night.config)[stage].settings(night)
    assert of_stage["warm_start"] == found
    assert "warm_start" not in stages_of(night.config)[stage].settings(night_of(tmp_path, "warm_start=null"))


def test_a_refit_starts_from_a_refit_where_there_is_one(tmp_path: Path) -> None:
    for folder, refit, expected in (("a", True, "refit_student"), ("b", False, "train_student")):
        publish_monday(tmp_path / folder, refit=refit)
        night = night_of(tmp_path / folder, "refit=true")
        assert settings(night, "refit_student")["origin"]["stage"] == expected
        assert settings(night, "train_student")["origin"]["stage"] == "train_student"


def test_another_trainings_settings_do_not_matter(tmp_path: Path) -> None:
    publish_monday(tmp_path)
    changes = ["student.training={epochs: 9, learning_rate: 0.5}", "distill.lambda=7", "student_storage=int8"]
    found = settings(night_of(tmp_path, *changes, "student.dropout=0.3"))
    assert found["reason"] is None


@pytest.mark.parametrize("stage", COMPARED)
def test_a_twin_that_learns_otherwise_starts_warm_as_its_sibling_does(tmp_path: Path, stage: str) -> None:
    twin = "student_plain={kind: mf, dim: 4, dropout: 0.3, training: {epochs: 30}}"
    keys = publish_monday(tmp_path, twin)
    night = night_of(tmp_path, twin)
    found = stages_of(night.config)[stage].settings(night)["warm_start"]
    assert found["reason"] is None
    assert found["origin"]["key"] == keys[stage]


def test_copies_start_from_as_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_monday(tmp_path, copies=2)
    assert "its `student_copies` is 2" in settings(night_of(tmp_path))["reason"]
    assert "its `student_copies` is 2" in settings(night_of(tmp_path, "student_copies=3"))["reason"]
    night = night_of(tmp_path, "student_copies=2", "student.dim=8")
    assert "its `dim` is 4" in settings(night)["reason"]
    night = night_of(tmp_path, "student_copies=2")
    found = settings(night)
    assert found["reason"] is None
    night = Night(night.config, night.date, night.workspace, lambda: cast(Any, None))
    task = Task(night, "train_student", "key", {"warm_start": found}, tmp_path / "out", {}, tmp_path / "checkpoints")
    (tmp_path / "items_train").mkdir()
    monkeypatch.setattr(warm, "misfit", lambda *_: None)
    monkeypatch.setattr(bridge_warm, "load_items", lambda _: ItemTable.without_features(np.ones(5, int)))
    _, request, facts = warm.started(task, Request(Prepared(tmp_path), "train", task.checkpoints, 1))
    assert facts == {"warm_start": "2024-01-01/run", "cold_start": None}
    for index in range(2):
        start = request.member(index).start
        assert start is not None
        assert describe_folder(start)["kind"] == "mf"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["student.dim=8"], "its `dim` is 4"),
        (["student={kind: bag, dim: 4}"], "its `history_length` is None"),
        (["student_copies=2"], "its `student_copies` is 1"),
        (["seed=5"], "another `seed`"),
        (["data.split={kind: temporal}"], "another `data.split`"),
    ],
)
def test_a_student_that_does_not_fit_means_a_cold_start(tmp_path: Path, changes: list[str], reason: str) -> None:
    publish_monday(tmp_path)
    found = settings(night_of(tmp_path, *changes))
    assert found["origin"] is None
    assert reason in found["reason"]
    assert "2024-01-01 does not fit" in found["reason"]


def _remove(path: Path) -> None:
    path.unlink()


def _damage(path: Path) -> None:
    path.write_text("{")


@pytest.mark.parametrize(
    ("stage", "file", "harm", "reason"),
    [
        ("train_plain", "manifest.json", _remove, "are gone"),
        ("prepare", "manifest.json", _remove, "are gone"),
        ("evaluate", "manifest.json", _damage, "are gone or damaged"),
        ("train_plain", "model/model.json", _remove, "are gone or damaged"),
        ("train_student", "model/model.json", _damage, "are gone or damaged"),
    ],
)
def test_what_is_gone_or_damaged_means_a_cold_start_of_both(
    tmp_path: Path, stage: str, file: str, harm: Callable[[Path], None], reason: str
) -> None:
    keys = publish_monday(tmp_path)
    night = night_of(tmp_path)
    harm(night.workspace.stage_folder(stage, keys[stage]) / file)
    for name in COMPARED:
        found = settings(night, name)
        assert found["origin"] is None
        assert reason in found["reason"]


def test_the_first_night_and_an_earlier_one_start_cold(tmp_path: Path) -> None:
    assert settings(night_of(tmp_path))["reason"] == "no earlier night is published here"
    publish_monday(tmp_path)
    assert settings(night_of(tmp_path, date=MONDAY))["origin"] is None


def write_log(folder: Path, days: int, users: int) -> dict[str, Any]:
    """Users of two tastes, some of whom come later; each chooses an item a day, new ones among them."""
    folder.mkdir()
    start = int(pd.Timestamp("2024-01-01", tz="UTC").timestamp())
    rng = np.random.default_rng(1)
    rows = []
    for user in range(users):
        for day in range(days):
            item = int(rng.integers(0, 4 + day // 2)) * 2 + user % 2
            rows.append((f"u{user}", f"i{item}", start + day * 86400 + user))
    pd.DataFrame(rows, columns=["u", "i", "t"]).to_csv(folder / "log.csv", index=False)
    return {
        "interactions": {"paths": str(folder / "log.csv"), "format": "csv"},
        "columns": {"user": "u", "item": "i", "timestamp": "t"},
        "features": {"history_length": 8},
        "examples": {"history_length": 8},
    }


def tonight(spark: SparkSession, root: Path, date: str, data: dict[str, Any]) -> Runner:
    """Prepare a night and train its students' twin."""
    training = {"epochs": 6, "batch_size": 8, "learning_rate": 0.05, "keep": "last"}
    config = parse_config(
        {
            "data": data,
            "teacher": {"kind": "ease"},
            "student": {"kind": "mf", "dim": 4, "training": training},
            # a rate that leaves the weights where they start, so that they tell where that was
            "warm_start": {"rate": 1e-9},
        }
    )
    night = Night(config, dt.date.fromisoformat(date), Workspace(root), lambda: spark)
    runner = Runner(night, stages_of(config))
    runner.run(["prepare", student.PLAIN])
    return runner


def publish(runner: Runner, staged: Path) -> None:
    """Publish a night of which no more was run, with its twin in the place of the distilled student."""
    night, twin = runner.night, student.PLAIN
    model = load_model(runner.output(twin) / "model", load_items(runner.output("prepare") / "items_train"))
    inputs = {"prepare": runner.key("prepare"), twin: runner.key(twin)}
    inputs["train_student"] = finish(night.workspace, "train_student", {}, model=model)
    key = finish(night.workspace, "evaluate", inputs)
    staged.mkdir()
    named = {"prepare": runner.output("prepare").name, "evaluate": night.workspace.stage_folder("evaluate", key).name}
    night.publication.publish(night.date, "run", staged, {"stages": named})


@pytest.mark.slow
def test_a_second_night_goes_on_where_the_first_one_ended(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, twin = tmp_path / "root", student.PLAIN
    with caplog.at_level(logging.INFO, "kdspark"):
        first = tonight(spark, root, "2024-01-08", write_log(tmp_path / "1", 6, 12))
        assert "cold start: no earlier night is published here" in caplog.text
        publish(first, tmp_path / "staged")
        second = tonight(spark, root, "2024-01-10", write_log(tmp_path / "2", 8, 16))
        assert f"warm start from {twin} of 2024-01-08/run" in caplog.text
    curves = [read_json(runner.output(twin) / "model" / "training.json")["curve"] for runner in (first, second)]
    assert [len(curve) for curve in curves] == [6, 2]
    old, new = (load_file(runner.output(twin) / "model" / "model.safetensors") for runner in (first, second))
    users, items = "user_encoder.table.weight", "item_encoder.ids.weight"
    assert (len(old[users]), len(new[users])) == (12, 16)
    assert len(old[items]) < len(new[items])
    torch.testing.assert_close(new[items][: len(old[items])], old[items], rtol=0, atol=1e-6)
    trained = (old[users] != 0).any(dim=1)
    assert int(trained.sum()) >= 10
    torch.testing.assert_close(new[users][:12][trained], old[users][trained], rtol=0, atol=1e-6)
    assert (new[users] != 0).any(dim=1).all()  # the others are folded in
    origin = second.manifest(twin).config["settings"]["warm_start"]["origin"]
    assert (origin["key"], origin["run"]) == (first.key(twin), "2024-01-08/run")
    facts = [runner.manifest(twin).facts for runner in (first, second)]
    assert [fact["warm_start"] for fact in facts] == [None, "2024-01-08/run"]
    assert [fact["cold_start"] for fact in facts] == ["no earlier night is published here", None]
