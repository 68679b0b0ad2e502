"""However a run ends, a row and the metrics say so, and nothing that goes wrong there spoils it."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from kdspark.config import parse_config
from kdspark.errors import BlockedError, EmptyDayError, InputError, TrainingError
from kdspark.stages import recorded as module
from kdspark.stages.recorded import record_missed, recorded
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night, Outcome, Stage
from kdspark.workspace import Workspace
from kdspark.workspace.health import read_rows
from tests.stages.tiny import tiny_config

DATE = dt.date(2024, 1, 2)
HEALTH: dict[str, Any] = {"name": "ndcg@5", "metric": 0.2, "teacher_metric": 0.3, "users": 40, "day_events": 9}


class Run:
    """A night of stages that do nothing but say something."""

    def __init__(self, folder: Path, **gate: Any) -> None:
        config = tiny_config(folder)
        config["gate"].update(gate)
        self.root = folder / "root"
        self.night = Night(parse_config(config), DATE, Workspace(self.root), self.no_session)
        self.settings: Any = 1
        facts = {"day_events": 9, "nulls": {"interactions": {"rows": 10, "missing": {"user": 1}}}}
        built = {
            "prepare": Outcome({"interactions": 320, "user_ids": 40}, facts),
            "evaluate": Outcome(),
            "publish": Outcome({}, {"health": HEALTH, "published_run": "r1", "forced": ["too few"]}),
        }
        stages = {
            name: Stage(name, name, (), lambda _: self.settings_now(), lambda _, name=name: built[name])
            for name in built
        }
        self.runner = Runner(self.night, stages)

    def no_session(self) -> Any:
        raise AssertionError("no session is needed")

    def settings_now(self) -> Any:
        if isinstance(self.settings, Exception):
            raise self.settings
        return self.settings

    def ends(self, *stages: str, error: Exception | None = None, publishes: bool = True) -> None:
        with recorded(self.runner, publishes):
            self.runner.run(stages)
            if error is not None:
                raise error

    def published(self, folder: Path, date: dt.date = DATE) -> None:
        folder.mkdir()
        self.night.publication.publish(date, "r0", folder, {"health": HEALTH, "evaluated_run": "e0"})

    @property
    def row(self) -> dict[str, Any]:
        (found,) = read_rows(self.root, 9)
        return found

    @property
    def metrics(self) -> str:
        return (self.root / "metrics.prom").read_text()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_published_night(run: Run) -> None:
    run.ends("prepare", "publish")
    assert (run.row["run"], run.row["outcome"], run.row["published"]) == ("r1", "published", True)
    assert (run.row["student_metric"], run.row["teacher_metric"], run.row["users"]) == (0.2, 0.3, 40)
    assert run.row["reason"] == "forced: too few"
    folder = run.root / "runs" / DATE.isoformat() / run.row["evaluated_run"]
    assert (folder / "metrics.prom").read_text() == run.metrics
    assert 'kdspark_night_success{name="kdspark"} 1.0' in run.metrics
    assert 'kdspark_stage_rows{name="kdspark",stage="prepare",table="interactions"} 320.0' in run.metrics


def test_a_verb_that_publishes_nothing_leaves_no_row(run: Run) -> None:
    run.ends("prepare", publishes=False)
    assert read_rows(run.root, 9) == []


def test_a_blocked_night(run: Run) -> None:
    with pytest.raises(BlockedError):
        run.ends("prepare", error=BlockedError("The night is blocked:\nbad.", "Look.", {**HEALTH, "users": 3}))
    assert (run.row["outcome"], run.row["published"], run.row["users"]) == ("blocked", False, 3)
    assert run.row["reason"] == "The night is blocked: bad. Look."
    assert 'kdspark_night_success{name="kdspark"} 0.0' in run.metrics


@pytest.mark.parametrize("error", [TrainingError("Not finite.", "Lower it."), RuntimeError("a bug")])
def test_a_failed_night_says_what_is_known_by_then(run: Run, error: Exception) -> None:
    with pytest.raises(type(error)):
        run.ends("prepare", error=error, publishes=False)
    assert run.row["outcome"] == "failed"
    assert (run.row["day_events"], run.row["known_users"]) == (9, 40)
    assert run.row["null_rates"] == {"interactions.user": 0.1}
    assert run.row["reason"] == str(error)


def test_the_next_try_of_the_same_night_replaces_its_row(run: Run) -> None:
    with pytest.raises(TrainingError):
        run.ends("prepare", error=TrainingError("Not finite.", "Lower it."))
    failed = run.row
    with pytest.raises(BlockedError):
        run.ends("prepare", error=BlockedError("No.", "Look."))
    assert run.row["run"] == failed["run"]
    assert run.row["outcome"] == "blocked"


def test_a_night_without_files_has_a_row(run: Run) -> None:
    run.settings = InputError("log: cannot be listed.", "Check.")
    with pytest.raises(InputError):
        run.ends("prepare")
    assert run.row["outcome"] == "failed"


@pytest.mark.parametrize("kept", [True, False])
def test_a_day_without_a_log(tmp_path: Path, kept: bool, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path, on_empty_day="keep_previous" if kept else "fail")
    error = EmptyDayError("log: the log is empty.", "Check.")
    with pytest.raises(EmptyDayError):  # nothing is published that could stay
        run.ends(error=error)
    run.published(tmp_path / "table", dt.date(2024, 1, 1))
    if not kept:
        with pytest.raises(EmptyDayError):
            run.ends(error=error)
        assert run.row["outcome"] == "failed"
        return
    with caplog.at_level("WARNING", "kdspark"):
        run.ends(error=error)
    assert "log: the log is empty. The lists of 2024-01-01, run r0, stay" in caplog.text
    assert (run.row["outcome"], run.row["published"]) == ("kept", False)
    assert 'kdspark_night_success{name="kdspark"} 1.0' in run.metrics


def test_what_cannot_be_written_is_no_failure(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "write_row", full)
    run.ends("prepare", "publish")
    assert "how the run ended cannot be recorded: No space left on device" in caplog.text


def test_a_row_that_a_killed_process_could_not_write(run: Run, tmp_path: Path) -> None:
    run.published(tmp_path / "table")
    found = run.night.publication.latest()
    record_missed(run.night, found)
    assert (run.row["run"], run.row["student_metric"], run.row["evaluated_run"]) == ("r0", 0.2, "e0")
    (run.root / "health" / f"{DATE}-r0.parquet").write_bytes(b"")
    record_missed(run.night, found)  # there, whatever it holds
    assert read_rows(run.root, 9) == []
