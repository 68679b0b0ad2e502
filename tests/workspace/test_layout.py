"""Stage folders: finished means a manifest, written last; failures leave nothing behind."""

from pathlib import Path

import pytest

from kdspark.errors import ConfigError, StageError
from kdspark.workspace import Manifest, Workspace, parse_date, read_json, write_json

KEY = "a" * 64


def manifest() -> Manifest:
    return Manifest(stage="prepare", key=KEY, inputs={}, config={}, rows={"users": 3})


def test_finish_makes_a_stage_findable(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.finished("prepare", KEY) is None
    with workspace.staging("prepare", KEY) as staged:
        (staged / "table").mkdir()
        assert workspace.finished("prepare", KEY) is None
        folder = workspace.finish(staged, manifest())
    assert (folder / "table").is_dir()
    assert workspace.finished("prepare", KEY) == manifest()
    assert workspace.finished("prepare", "b" * 64) is None


def test_failed_stage_leaves_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    def fail() -> None:
        with workspace.staging("prepare", KEY) as staged:
            (staged / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((tmp_path / "stages" / "prepare").iterdir()) == []


def test_same_prefix_with_another_key_is_not_reused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with workspace.staging("prepare", KEY) as staged:
        workspace.finish(staged, manifest())
    assert workspace.finished("prepare", KEY[:20] + "b" * 44) is None


@pytest.mark.parametrize("harm", ["{", '{"rows": 3}', "[]", "flip"])
def test_a_damaged_manifest_finishes_nothing(tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    workspace = Workspace(tmp_path)
    with workspace.staging("prepare", KEY) as staged:
        folder = workspace.finish(staged, manifest())
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"users": 3', '"users": 7') if harm == "flip" else harm)
    assert workspace.finished("prepare", KEY) is None
    assert "damaged manifest" in caplog.text
    with pytest.raises(StageError, match="damaged manifest"):
        workspace.manifest_in("prepare", folder.name)
    with workspace.staging("prepare", KEY) as staged:
        workspace.finish(staged, manifest())
    assert workspace.finished("prepare", KEY) == manifest()


def test_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--root"):
        Workspace(tmp_path / "file" / "root")


@pytest.mark.parametrize("text", ["1998-04-23", "2024-02-29", "1970-01-01", "9999-12-30"])
def test_dates(text: str) -> None:
    assert parse_date(text).isoformat() == text


@pytest.mark.parametrize("text", ["2026-13-40", "2023-02-29", "../../x", "19980423", "1998-4-23", "", "1998-04-23T00"])
def test_impossible_dates(text: str) -> None:
    with pytest.raises(ConfigError, match="YYYY-MM-DD"):
        parse_date(text)


@pytest.mark.parametrize("text", ["9999-12-31", "1969-12-31", "0001-01-01"])
def test_dates_that_hold_no_night(text: str) -> None:
    with pytest.raises(ConfigError, match=f"{text} is not between 1970-01-01 and 9999-12-30"):
        parse_date(text)


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]
