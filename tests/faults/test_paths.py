"""Texts that would be paths: fault 36."""

import json
from pathlib import Path

import pytest
import yaml

from kdspark.cli import main
from tests.stages.tiny import tiny_config


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(
    "date",
    ["../../x", "2026-13-40", "2026-1-1", "2026-01-01/../..", "2026-01-01%2F..", "", "2026-01-01\n", "2026-W01-1"],
)
def test_fault_36_dates_that_are_none(tmp_path: Path, date: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "night.yaml").write_text(yaml.safe_dump(tiny_config(tmp_path)))
    night = ["--config", str(tmp_path / "night.yaml"), "--date", date, "--root", str(tmp_path / "root")]
    assert code_of("run", *night) == 2
    assert "is not a date" in capsys.readouterr().err
    assert code_of("rollback", "--root", str(tmp_path / "root"), "--date", date) == 2
    assert list((tmp_path / "root").iterdir()) in ([], [tmp_path / "root" / "leases"])


@pytest.mark.parametrize("run", ["../../x", "a/b", "..", "a%2Fb", "", "-a", "a" * 65])
def test_fault_36_runs_that_are_none(tmp_path: Path, run: str) -> None:
    secret = tmp_path / "x"
    secret.mkdir()
    (secret / "manifest.json").write_text('{"files": {}}')
    root = tmp_path / "root"
    (root / "published" / "2026-01-01").mkdir(parents=True)
    (root / "latest.json").write_text(json.dumps({"date": "2026-01-01", "run_id": run}))
    assert code_of("latest", "--root", str(root)) == 6
    assert code_of("rollback", "--root", str(root), "--date", "2026-01-01", "--run", run) == 6
