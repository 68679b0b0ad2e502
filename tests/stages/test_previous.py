"""What the last published night left is compared with its hashes before it is gone on from: fault 35."""

import datetime as dt
from pathlib import Path

import pytest

from kdspark.config import parse_config
from kdspark.errors import StageError
from kdspark.stages.previous import events_are_whole, folder_of, previous
from kdspark.stages.stage import Night
from kdspark.workspace import LocalStore, Manifest, Publication, Workspace
from tests.config.test_load import minimal

MONDAY, TUESDAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
KEY = "ab" * 32
TABLES = ("user_ids", "item_ids", "user_codes", "item_codes", "interactions", "quarantine", "users_full")


def night_of(root: Path, date: dt.date = TUESDAY) -> Night:
    return Night(parse_config(minimal()), date, Workspace(root), lambda: pytest.fail("no session needed"))


def publish_monday(root: Path, folder: str = KEY[:20]) -> Path:
    """A published night with a prepare stage; returns the stage's folder."""
    workspace = Workspace(root)
    with workspace.staging("prepare", KEY) as out:
        for table in TABLES:
            (out / table).mkdir()
            (out / table / "part-0.parquet").write_text(table)
        made = workspace.finish(out, Manifest("prepare", KEY, {}, {}))
    (root / "staged").mkdir()
    facts = {"stages": {"prepare": folder}}
    Publication(LocalStore(workspace.root)).publish(MONDAY, "run", root / "staged", facts)
    return made


def test_what_is_whole_is_gone_on_from(tmp_path: Path) -> None:
    assert previous(night_of(tmp_path)) is None
    made = publish_monday(tmp_path)
    night = night_of(tmp_path)
    found = previous(night)
    assert found is not None
    assert folder_of(night, found) == made
    assert events_are_whole(night, found)
    (made / "users_full" / "part-0.parquet").write_text("changed, and not gone on from")
    assert folder_of(night, found) == made


@pytest.mark.parametrize("table", TABLES[:4])
@pytest.mark.parametrize("harm", ["flip", "more", "less"])
def test_fault_35_damaged_ids_and_codes_stop_the_night(tmp_path: Path, table: str, harm: str) -> None:
    made = publish_monday(tmp_path)
    path = made / table / "part-0.parquet"
    if harm == "flip":
        path.write_text(table[:-1] + "!")
    elif harm == "more":
        path.with_name("part-1.parquet").write_text("")
    else:
        path.unlink()
    night = night_of(tmp_path)
    found = previous(night)
    assert found is not None
    with pytest.raises(StageError, match=rf"damaged: {table}/.*never\s+renumbered\. Restore"):
        folder_of(night, found)
    assert events_are_whole(night, found)


@pytest.mark.parametrize("table", TABLES[4:6])
def test_fault_35_damaged_events_are_read_anew(tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture) -> None:
    made = publish_monday(tmp_path)
    (made / table / "part-0.parquet").write_text("?")
    night = night_of(tmp_path)
    found = previous(night)
    assert found is not None
    assert folder_of(night, found) == made
    assert not events_are_whole(night, found)
    assert "all of the log is read" in caplog.text


@pytest.mark.parametrize("folder", ["../../../outside", "../../inside", "%2e%2e%2foutside", "..", "gone", ""])
def test_fault_36_a_published_run_names_no_folder_elsewhere(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "root"
    publish_monday(root, folder)
    manifest = (root / "stages" / "prepare" / KEY[:20] / "manifest.json").read_bytes()
    for place in (tmp_path / "outside", root / "inside"):
        place.mkdir()
        (place / "manifest.json").write_bytes(manifest)
    with pytest.raises(StageError, match="are gone"):
        previous(night_of(root))
