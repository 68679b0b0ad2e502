"""The terminal: usage, exit codes, one line per mistake, jobs with the same options."""

import runpy
import sys
from pathlib import Path

import pytest

import jobs
from kdspark.cli import main
from kdspark.doctor import run as doctor
from kdspark.stages import pipeline, search


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    for verb in (
        "run",
        "prepare",
        "train-teacher",
        "soft-labels",
        "train-student",
        "score",
        "evaluate",
        "publish",
        "search",
    ):
        assert verb in text


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["latest", "--root", "{}/none"], 4, "no such folder"),
        (["latest", "--root", "{}"], 6, "nothing is published"),
        (["compare", "--root", "{}", "--date", "2024-01-01"], 4, "no evaluated run"),
        (["compare", "--root", "{}", "--date", "2024-13-01"], 2, "YYYY-MM-DD"),
        (["compare", "--root", "{}", "--date", "9999-12-31"], 2, "9999-12-31"),
        (["run", "--config", "{}/none.yaml", "--date", "2024-01-01", "--root", "{}"], 2, "none.yaml"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], code: int, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(argument.format(tmp_path) for argument in arguments)) == code
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("kdspark: error: ")
    assert word in errors[0]


def test_missing_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run") == 2
    assert "--config" in capsys.readouterr().err


FOLDER = Path(str(jobs.__file__)).parent
JOBS = {
    "nightly": "run",
    "prepare": "prepare",
    "train_teacher": "train-teacher",
    "soft_labels": "soft-labels",
    "train_student": "train-student",
    "score": "score",
    "evaluate": "evaluate",
    "publish": "publish",
}


def test_every_job_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "search", "doctor"} == JOBS.keys()


@pytest.mark.parametrize("job", sorted(JOBS))
def test_a_job_runs_its_verb_with_the_options_given(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(pipeline, "run_verb", lambda *arguments: asked.append(arguments))
    options = ["--config", "my.yaml", "--date", "2024-01-01", "--root", "out", "--set", "seed=1", "--set", "refit=true"]
    monkeypatch.setattr(sys, "argv", [f"{job}.py", *options])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(FOLDER / f"{job}.py"), run_name="__main__")
    assert not stopped.value.code
    flags = {"nightly": (False, False), "prepare": (False, False), "publish": (False,)}.get(job, ())
    assert asked == [(JOBS[job], "my.yaml", "2024-01-01", "out", ["seed=1", "refit=true"], *flags)]


def test_the_job_that_searches_has_two_more_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(search, "run_search", lambda *arguments: asked.append(arguments) or "the table")
    options = ["--config", "my.yaml", "--search", "space.yaml", "--date", "2024-01-01", "--root", "out"]
    for more, trials in (([], None), (["--trials", "7"], 7)):
        monkeypatch.setattr(sys, "argv", ["search.py", *options, *more, "--set", "seed=1"])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(FOLDER / "search.py"), run_name="__main__")
        assert not stopped.value.code
        assert capsys.readouterr().out == "the table\n"
        assert asked.pop() == ("my.yaml", "space.yaml", "2024-01-01", "out", trials, ["seed=1"])


def test_the_job_that_looks_at_a_cluster_ends_with_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(doctor, "run_doctor", lambda *arguments: asked.append(arguments) or ("the table", doctor.UNFIT))
    monkeypatch.setattr(sys, "argv", ["doctor.py", "--config", "my.yaml", "--root", "out", "--set", "seed=1", "--json"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(FOLDER / "doctor.py"), run_name="__main__")
    assert stopped.value.code == doctor.UNFIT
    assert capsys.readouterr().out == "the table\n"
    assert asked == [("my.yaml", "out", ["seed=1"], True)]
