"""Small real searches: stages are shared between trials, values are those of validation, disk stays bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.bridge.prepared import Prepared
from kdspark.cli import main
from kdspark.config import load_config
from kdspark.report.search import SearchRecord
from kdspark.stages.runner import Runner
from kdspark.workspace import read_json
from tests.integration.nights import DATE, small_config, small_log, write_config

pytestmark = pytest.mark.slow


class Desk:
    """Runs searches on one configuration and ROOT; `built` are the stages that were built, `read` the splits."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        training = {"epochs": 1, "batch_size": 64, "learning_rate": 0.01}
        config = small_config(small_log(folder, users=40), teacher={"kind": "ease"}, baselines=[])
        config["data"] = {key: value for key, value in config["data"].items() if key not in ("users", "items")}
        config["student"] = {"kind": "bag", "dim": 4, "history_length": 20, "training": training}
        self.folder, self.root, self.config = folder, folder / "root", write_config(folder / "night.yaml", config)
        self.built: list[str] = []
        self.read: set[str] = set()
        describe, blocks = Runner._describe, Prepared.event_blocks

        def noted(prepared: Prepared, splits: list[str]) -> Iterator[Any]:
            self.read |= {*splits}
            return blocks(prepared, splits)

        monkeypatch.setattr(Runner, "_describe", lambda *args: self.built.append(args[1].name) or describe(*args))
        monkeypatch.setattr(Prepared, "event_blocks", noted)

    def search(self, *options: str, **space: Any) -> tuple[SearchRecord, Path]:
        """The record of a search that ends well, and its folder."""
        self.built.clear()
        path = self.folder / "space.yaml"
        path.write_text(yaml.safe_dump(space, sort_keys=False))
        before = {*self.root.glob("search/*")}
        arguments = ["--config", self.config, "--search", path, "--date", DATE, "--root", self.root, *options]
        with pytest.raises(SystemExit) as stopped:
            main(["search", *map(str, arguments)])
        assert not stopped.value.code
        new = {*self.root.glob("search/*")} - before or before
        (folder,) = new
        return read_json(folder / "search.json"), folder


@pytest.fixture
def desk(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_search_for_a_student_and_one_for_a_teacher(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    space: dict[str, Any] = {
        "fields": {"student.history_length": {"choices": [20, 99]}, "student.dim": {"choices": [4, 8]}},
        "sampler": "grid",
        "repeats": 2,
        "keep": 1,
    }
    record, folder = desk.search(**space)
    shared = ["prepare", "train_teacher", "soft_labels"]
    assert desk.built == [*shared, *["train_student"] * 4]  # two trials of two seeds
    assert {trial["state"] for trial in record["trials"] if trial["parameters"]["student.history_length"] == 20} == {
        "done"
    }
    failed = [trial for trial in record["trials"] if trial["state"] == "failed"]
    assert [trial["parameters"]["student.history_length"] for trial in failed] == [99, 99]
    assert all("never be trained" in trial["reason"] for trial in failed)
    check_values(desk, record, folder)
    check_folder(desk, record, folder, capsys.readouterr().out)

    again, _ = desk.search(**space)
    assert desk.built == []
    assert again == record

    # Whatever a trial trains with, all are measured alike: one epoch is one epoch.
    cuts, _ = desk.search(fields={"student.training.valid_k": {"choices": [10, 3]}}, sampler="grid")
    assert desk.built == ["train_student"]
    assert len({trial["value"] for trial in cuts["trials"]}) == 1
    assert {trial["value"] for trial in cuts["trials"]} < {value for one in record["trials"] for value in one["values"]}

    fields = {"teacher.l2": {"low": 50.0, "high": 100.0, "step": 50.0}}
    teachers, other = desk.search(
        "--trials", "2", "--set", "distill.lambda=2", target="teacher", fields=fields, sampler="grid"
    )
    assert desk.built == ["train_teacher"] * 2
    assert other != folder
    values = [trial["value"] for trial in teachers["trials"]]
    assert values[0] != values[1]
    assert all(value is not None and value > 0.02 for value in values)
    assert desk.read == {tables.TRAIN, tables.VALID}


def check_values(desk: Desk, record: SearchRecord, folder: Path) -> None:
    """Each value is what a training kept in its record; seeds differ, and the first is the night's own."""
    done = [trial for trial in record["trials"] if trial["state"] == "done"]
    values = {trial["parameters"]["student.dim"]: trial["values"] for trial in done}
    assert sorted(values) == [4, 8]
    (own,) = desk.root.glob("stages/train_student/*/model/training.json")  # the configuration's, which has 4
    (latest,) = folder.glob("stages/train_student/*/model/training.json")  # and one of the others
    assert read_json(own)["best_metric"] == values[4][0]
    assert read_json(latest)["best_metric"] == done[1]["values"][1]
    for trial in done:
        assert trial["value"] == pytest.approx(np.mean(trial["values"]))
        assert len({*trial["values"]}) == 2
        assert trial["epochs"] == [1, 1]
    assert len({trial["weights"] for trial in done}) == 2


def check_folder(desk: Desk, record: SearchRecord, folder: Path, printed: str) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "best.yaml",
        "journal.log",
        "lock",
        "report.html",
        "search.json",
        "stages",
    }
    best = next(trial for trial in record["trials"] if trial["number"] == record["best"])
    assert load_config(folder / "best.yaml").student.dim == best["parameters"]["student.dim"]
    assert load_config(folder / "best.yaml").student.training == load_config(desk.config).student.training
    assert (folder / "report.html").read_text().count("<svg") == 1 + 2
    assert f"Report: {folder / 'report.html'}" in printed
    assert printed.split("\n")[2].split()[:2] == [str(best["number"]), f"{best['value']:.4f}"]


def test_without_validation_events_there_is_nothing_to_compare(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    space = desk.folder / "space.yaml"
    space.write_text("fields: {student.dim: {choices: [4, 8]}}")
    source = "{paths: x, format: csv}"
    split = f"data.split={{kind: provided, test: {source}, valid_fraction: 0}}"
    arguments = ["--config", desk.config, "--search", space, "--date", DATE, "--root", desk.root, "--set", split]
    with pytest.raises(SystemExit) as stopped:
        main(["search", *map(str, arguments)])
    assert stopped.value.code == 2
    assert "this split has none" in capsys.readouterr().err
