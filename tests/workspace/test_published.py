"""The pointer: visible at once, never moved back, never pointing at a half-written folder."""

import datetime as dt
import errno
import hashlib
import os
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


def test_publish_keeps_hashes_and_points(tmp_path: Path, table: Path) -> None:
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


@pytest.mark.parametrize("linked", [True, False])
def test_published_files_are_links_where_they_can_be(
    tmp_path: Path, table: Path, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, "another device")

    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    for part in range(1, 9):  # more than are hashed at once
        (table / f"part-{part}.parquet").write_bytes(bytes([part]))
    path = publish_run(Workspace(tmp_path / "root"), MONDAY, "r1", table, {})
    assert [(table / file.name).samefile(file) for file in path.iterdir()] == [linked] * 9
    files = read_json(path.parent / "manifest.json")["files"]
    assert {name: entry["sha256"] for name, entry in files.items()} == {
        f"recommendations/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in path.iterdir()
    }
    shutil.rmtree(path.parent)  # what retention does, on either side
    assert (table / "part-8.parquet").read_bytes() == b"\x08"


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
