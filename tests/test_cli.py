"""The terminal: usage, exit codes, one line per mistake, jobs with the same options."""

import importlib
import sys
from pathlib import Path

import pytest

from kdspark.cli import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    for verb in ("run", "prepare", "train-teacher", "soft-labels", "train-student", "score", "evaluate", "publish"):
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


JOBS = ["nightly", "prepare", "train_teacher", "soft_labels", "train_student", "score", "evaluate", "publish"]


@pytest.mark.parametrize("job", JOBS)
def test_jobs_pass_their_options_on(
    job: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"jobs.{job}")
    source = Path(str(module.__file__)).read_text()
    options = ["--config", "none.yaml", "--date", "2024-01-01", "--root", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [f"{job}.py", *options])
    with pytest.raises(SystemExit) as stopped:
        exec(compile(source, str(module.__file__), "exec"), {"__name__": "__main__"})
    assert stopped.value.code == 2
    assert "none.yaml" in capsys.readouterr().err
