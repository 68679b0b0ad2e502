"""The runner: finished stages are reused, changed ones run again, failures leave nothing behind."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from kdspark.config import parse_config
from kdspark.errors import InputError, LeaseError, ModelError, StageError
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night, Outcome, Stage, Task
from kdspark.workspace import Workspace, held, write_json
from tests.config.test_load import minimal


class Recorder:
    """Two stages, a -> b, that count their builds."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.builds: list[str] = []
        self.fail = False
        config = parse_config(minimal(), [f"{key}={value}" for key, value in settings.items()])
        self.night = Night(config, dt.date(2024, 1, 1), Workspace(root), lambda: pytest.fail("no session needed"))
        self.stages = {
            "a": Stage("a", "verb-a", (), lambda night: night.config.scoring.k, self.build("a")),
            "b": Stage("b", "verb-b", ("a",), lambda night: night.config.distill.lambda_, self.build("b")),
        }

    def build(self, name: str) -> Any:
        def build(task: Task) -> Outcome:
            self.builds.append(name)
            (task.out / "part").write_text(name)
            if self.fail:
                raise InputError("The log is empty.", "Bring another.")
            if name == "b":
                assert (task.inputs["a"] / "part").read_text() == "a"
            return Outcome(rows={name: 7}, facts={"seen": sorted(task.inputs)})

        return build

    def run(self, *names: str) -> Runner:
        runner = Runner(self.night, self.stages)
        runner.run(names)
        return runner


def test_second_run_reuses_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "kdspark"):
        runner = Recorder(tmp_path).run("a", "b")
        again = Recorder(tmp_path)
        again.run("a", "b")
    assert again.builds == []
    assert runner.manifest("b").rows == {"b": 7}
    assert runner.manifest("b").facts == {"seen": ["a"]}
    assert runner.manifest("b").inputs == {"a": runner.key("a")}
    lines = {record.getMessage() for record in caplog.records}
    assert sum("reused" in line for line in lines) == 2
    assert any("7 b" in line and str(runner.output("b")) in line for line in lines)


@pytest.mark.parametrize(
    ("change", "builds"),
    [({"distill.lambda": 5}, ["b"]), ({"scoring.k": 5}, ["a", "b"]), ({"seed": 5}, ["a", "b"]), ({"refit": True}, [])],
)
def test_only_what_depends_on_a_change_runs_again(tmp_path: Path, change: dict, builds: list[str]) -> None:
    Recorder(tmp_path).run("a", "b")
    changed = Recorder(tmp_path, **change)
    changed.run("a", "b")
    assert changed.builds == builds


def test_missing_upstream_names_its_verb(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="kdspark verb-a"):
        Recorder(tmp_path).run("b")


def test_failed_stage_is_not_finished(tmp_path: Path) -> None:
    failing = Recorder(tmp_path)
    failing.fail = True
    with pytest.raises(InputError):
        failing.run("a")
    assert not list((tmp_path / "stages" / "a").iterdir())
    again = Recorder(tmp_path)
    again.run("a", "b")
    assert again.builds == ["a", "b"]


def test_a_workers_error_is_the_stages_error(spark: SparkSession, tmp_path: Path) -> None:
    def fail(batches: Any) -> Any:
        raise ModelError("models/a: damaged.", "Train it again.")
        yield from batches

    def build(task: Task) -> Outcome:
        spark.range(2).mapInArrow(fail, "id BIGINT").write.parquet(str(task.out / "table"))
        return Outcome()

    stages = {"a": Stage("a", "verb-a", (), lambda night: 0, build)}
    with pytest.raises(ModelError, match=r"^models/a: damaged\. Train it again\.$"):
        Runner(Recorder(tmp_path).night, stages).run("a")
    assert not list((tmp_path / "stages" / "a").iterdir())


def test_end_of_the_night_is_exclusive_and_utc(tmp_path: Path) -> None:
    night = Recorder(tmp_path).night
    assert night.end_us == 1704153600 * 10**6  # 2024-01-02T00:00:00Z


def test_a_damaged_output_is_made_anew_and_never_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Recorder(tmp_path).run("a", "b")
    for stage in "ab":
        (first.output(stage) / "part").write_text("x")
    with pytest.raises(StageError, match=r"damaged: part has other bytes.*kdspark verb-a"):
        Recorder(tmp_path).run("b")
    again = Recorder(tmp_path)
    runner = again.run("a", "b")
    assert again.builds == ["a", "b"]
    assert [(runner.output(stage) / "part").read_text() for stage in "ab"] == ["a", "b"]
    assert "b              is made anew: part has other bytes" in caplog.messages
    for harm in (lambda path: path.unlink(), lambda path: (path.parent / "more").touch()):
        harm(runner.output("b") / "part")
        another = Recorder(tmp_path)
        another.run("a", "b")
        assert another.builds == ["b"]


def test_who_has_lost_the_lease_finishes_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with held(tmp_path / "lease.json", "The night") as lease:
        write_json(tmp_path / "lease.json", {"host": "elsewhere", "pid": 1, "token": "t", "until": 1e12})
        with pytest.raises(LeaseError, match="another run has taken over"):
            Runner(replace(recorder.night, lease=lease), recorder.stages).run("a")
    assert not list((tmp_path / "stages" / "a").iterdir())
