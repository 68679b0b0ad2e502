"""Texts that would be paths, and links that lead out of ROOT: fault 36."""

import datetime as dt
import json
from pathlib import Path

import pytest
import yaml

from kdspark.cli import main
from kdspark.errors import PublishError, StageError
from kdspark.workspace import LocalStore, Manifest, Publication, Workspace
from tests.stages.tiny import tiny_config
from tests.workspace.left import left_name


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


@pytest.mark.parametrize("run", ["../../x", "a/b", "..", "a%2Fb", "%2e%2e%2fx", "", "-a", "a" * 65])
def test_fault_36_runs_that_are_none(tmp_path: Path, run: str) -> None:
    secret = tmp_path / "x"
    secret.mkdir()
    (secret / "manifest.json").write_text('{"files": {}}')
    root = tmp_path / "root"
    (root / "published" / "2026-01-01").mkdir(parents=True)
    (root / "latest.json").write_text(json.dumps({"date": "2026-01-01", "run_id": run}))
    assert code_of("latest", "--root", str(root)) == 6
    assert code_of("rollback", "--root", str(root), "--date", "2026-01-01", "--run", run) == 6


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is nobody's business, with a run in it that looks like a published one."""
    folder = tmp_path / "outside"
    (folder / "r" / "recommendations").mkdir(parents=True)
    (folder / "r" / "manifest.json").write_text('{"files": {}}')
    (folder / "latest.json").write_text(json.dumps({"date": "2026-01-01", "run_id": "r"}))
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "link", ["latest.json", "published", "published/2026-01-01", "published/2026-01-01/r", "stages", "search", "leases"]
)
def test_fault_36_links_out_of_root_are_refused(
    tmp_path: Path, outside: Path, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    (root / link).parent.mkdir(parents=True)
    aims = {"latest.json": outside / "latest.json", "published/2026-01-01/r": outside / "r"}
    if link.startswith("published/"):
        (root / "latest.json").write_bytes((outside / "latest.json").read_bytes())
    (root / link).symlink_to(aims.get(link, outside))
    before = everything(outside)
    assert code_of("latest", "--root", str(root)) in (2, 6)
    assert "leads out of" in capsys.readouterr().err
    assert code_of("verify", "--root", str(root)) in (2, 6)
    assert code_of("rollback", "--root", str(root), "--date", "2026-01-01", "--run", "r") in (2, 6)
    assert everything(outside) == before


def test_fault_36_a_file_of_a_run_that_is_a_link(tmp_path: Path, outside: Path) -> None:
    publication = Publication(LocalStore(tmp_path / "root"))
    table = tmp_path / "table"
    table.mkdir()
    (table / "part-0.parquet").write_text("rows")
    run = publication.publish(dt.date(2026, 1, 1), "r", table, {})
    path = Path(publication.url(run)) / "part-0.parquet"
    path.unlink()
    path.symlink_to(outside / "latest.json")
    with pytest.raises(PublishError, match="leads out of"):
        publication.damage(run)


@pytest.mark.parametrize("place", ["stages/prepare", "checkpoints/prepare", "runs/2026-01-01", "stages/prepare/KEY"])
def test_fault_36_stages_behind_links_are_refused(tmp_path: Path, outside: Path, place: str) -> None:
    root, key = tmp_path / "root", "ab" * 32
    workspace = Workspace(root)
    link = root / place.replace("KEY", key[:20])
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    left = outside / left_name("staging-x")
    left.mkdir()
    before = everything(outside)

    def use() -> None:
        workspace.remove_left()
        workspace.checkpoints("prepare", key)
        workspace.run_folder(dt.date(2026, 1, 1), "r")
        with workspace.staging("prepare", key) as out:
            workspace.finish(out, Manifest("prepare", key, {}, {}))

    with pytest.raises(StageError, match=r"leads out of .*make all of --root a link"):
        use()
    assert everything(outside) == before


def test_fault_36_a_stage_that_holds_a_link_is_damaged(tmp_path: Path, outside: Path) -> None:
    workspace, manifest = Workspace(tmp_path / "root"), Manifest("prepare", "ab" * 32, {}, {})
    with workspace.staging("prepare", manifest.key) as out:
        (out / "part-0").write_text("{}")
        folder = workspace.finish(out, manifest)
    (outside / "part-0").write_text("{}")  # the same bytes
    (folder / "part-0").unlink()
    (folder / "part-0").symlink_to(outside / "part-0")
    anew = Workspace(tmp_path / "root")
    found = anew.finished("prepare", manifest.key)
    assert found is not None
    assert anew.damage(found) == ["part-0 is a link"]


def test_fault_36_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    publication = Publication(LocalStore(Workspace(tmp_path / "root").root))
    table = tmp_path / "table"
    table.mkdir()
    (table / "part-0.parquet").write_text("rows")
    publication.publish(dt.date(2026, 1, 1), "r", table, {})
    assert code_of("latest", "--root", str(tmp_path / "root")) == 0
    assert code_of("verify", "--root", str(tmp_path / "root")) == 0
