"""The night verb by verb, as a scheduler runs it: each by itself, in order, from the command line."""

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.cli import main
from kdspark.stages.results import compare_night, latest_table
from kdspark.stages.runner import Runner
from tests.integration.nights import DATE, small_config, small_log, write_config

pytestmark = pytest.mark.slow
BUILDS = {
    "prepare": ["prepare"],
    "train-teacher": ["train_teacher"],
    "soft-labels": ["soft_labels"],
    "train-student": ["train_plain", "train_student"],
    "score": ["score"],
    "evaluate": ["baselines", "evaluate"],
    "publish": ["publish"],
}


class Terminal:
    """Runs verbs on one configuration and ROOT; `built` are the stages that were built, in order."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        config = small_config(small_log(folder, users=40), teacher={"kind": "ease"}, baselines=[])
        self.path, self.root, self.capfd = write_config(folder / "night.yaml", config), folder / "root", capfd
        self.built: list[str] = []
        describe = Runner._describe
        monkeypatch.setattr(Runner, "_describe", lambda *args: self.built.append(args[1].name) or describe(*args))

    def run(self, verb: str) -> tuple[int, str]:
        """The exit code, and the line of the error if there is one."""
        with pytest.raises(SystemExit) as stopped:
            main([verb, "--config", str(self.path), "--date", DATE, "--root", str(self.root)])
        errors = [line for line in self.capfd.readouterr().err.splitlines() if line.startswith("kdspark: error:")]
        return int(stopped.value.code or 0), "\n".join(errors)

    def refuses(self, verb: str, first: str) -> bool:
        """Whether a verb ends with StageError's code and one line that names the verb to run first."""
        code, errors = self.run(verb)
        return code == 4 and errors.count("\n") == 0 and f"Run `kdspark {first}`" in errors


def test_seven_verbs_make_a_night(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(tmp_path, capfd, monkeypatch)
    assert terminal.refuses("score", "prepare")
    for verb, stages in BUILDS.items():
        terminal.built.clear()
        assert terminal.run(verb) == (0, "")
        assert terminal.built == stages
        assert (terminal.root / "latest.json").exists() == (verb == "publish")
        if verb == "prepare":
            assert terminal.refuses("score", "train-student")
    assert pd.read_parquet(latest_table(str(terminal.root))).groupby("user_id").size().eq(10).all()
    assert "student_plain" in compare_night(str(terminal.root), DATE, json_output=False)
    terminal.built.clear()
    assert terminal.run("run") == (0, "")
    assert terminal.built == []  # nothing was left to do
