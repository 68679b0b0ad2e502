"""The pointer: visible at once, never moved back, never pointing at a half-written folder."""

import datetime as dt
import shutil
from pathlib import Path

import pytest

from kdspark.errors import PublishError
from kdspark.workspace import Workspace, latest_published, publish_run, published_before, read_json

MONDAY, TUESDAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "staged"
    folder.mkdir()
    (folder / "part-0.parquet").write_bytes(b"rows")
    (folder / "_SUCCESS").touch()
    return folder


def test_publish_copies_hashes_and_points(tmp_path: Path, table: Path) -> None:
    workspace = Workspace(tmp_path / "root")
    assert latest_published(workspace, required=False) is None
    path = publish_run(workspace, MONDAY, "r1", table, {"rows": 4})
    shutil.rmtree(table)
    found = latest_published(workspace)
    assert found is not None
    assert found.table == path
    assert [file.name for file in path.iterdir()] == ["part-0.parquet"]
    entry = found.manifest["files"]["recommendations/part-0.parquet"]
    assert entry["bytes"] == 4
    assert entry["sha256"].startswith("bc51e9e65d79e1c9")  # sha256sum of b"rows"
    assert found.manifest["rows"] == 4


def test_backfill_does_not_move_latest_back(tmp_path: Path, table: Path) -> None:
    workspace = Workspace(tmp_path / "root")
    publish_run(workspace, TUESDAY, "r2", table, {})
    publish_run(workspace, MONDAY, "r1", table, {})
    found = latest_published(workspace)
    assert found is not None
    assert found.run_id == "r2"
    before = published_before(workspace, TUESDAY)
    assert before is not None
    assert before.run_id == "r1"
    assert published_before(workspace, MONDAY) is None


def test_failed_copy_leaves_the_pointer(tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "root")
    publish_run(workspace, MONDAY, "r1", table, {})
    pointer = read_json(workspace.root / "latest.json")

    def fail(*_: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("kdspark.workspace.published.sha256_file", fail)
    with pytest.raises(OSError, match="disk full"):
        publish_run(workspace, TUESDAY, "r2", table, {})
    assert read_json(workspace.root / "latest.json") == pointer
    assert not any(workspace.root.glob("published/2024-01-02/*"))


def test_nothing_published_and_damaged_pointer(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(PublishError, match="nothing is published"):
        latest_published(workspace)
    (tmp_path / "latest.json").write_text("{}")
    with pytest.raises(PublishError, match="damaged"):
        latest_published(workspace)
