"""Asking for what is published, and going back."""

import datetime as dt
import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from kdspark.errors import PublishError, StageError
from kdspark.spark.hadoop_store import HadoopStore
from kdspark.stages import results
from kdspark.stages.published import note_place
from kdspark.stages.results import latest_table, list_runs, roll_back, verify
from kdspark.workspace import LocalStore, Publication, Workspace

DAYS = [dt.date(2024, 1, day) for day in (1, 2, 3)]


def publish(publication: Publication, folder: Path) -> None:
    """Three nights, the second of them twice."""
    folder.mkdir()
    (folder / "part-0.parquet").write_bytes(b"rows")
    for date, run, forced in ((0, "a", []), (1, "b", []), (1, "b-2", ["blocked"]), (2, "c", [])):
        publication.publish(DAYS[date], run, folder, {"rows": 40, "users": 4, "forced": forced})


@pytest.fixture
def root(tmp_path: Path) -> str:
    publish(Publication(LocalStore(tmp_path / "root")), tmp_path / "table")
    return str(tmp_path / "root")


def current(root: str) -> tuple[list[str], list[str]]:
    """Ids of the latest run, and of those that count for their dates."""
    rows = json.loads(list_runs(root, json_output=True))
    return [row["run"] for row in rows if row["latest"]], [row["run"] for row in rows if row["counts"]]


def test_runs_in_order(root: str) -> None:
    assert [row["run"] for row in json.loads(list_runs(root, json_output=True))] == ["a", "b", "b-2", "c"]
    assert current(root) == (["c"], ["a", "b-2", "c"])
    lines = list_runs(root, json_output=False).splitlines()
    assert lines[3].split()[:3] == ["+", "2024-01-02", "b-2"]
    assert lines[3].endswith("forced")
    assert lines[4].startswith("*  2024-01-03")
    roll_back(root, "2024-01-02", None)
    rows = json.loads(list_runs(root, json_output=True))
    assert [row["run"] for row in rows if row["withdrawn"]] == ["c"]
    assert list_runs(root, json_output=False).splitlines()[4].endswith("withdrawn")


def test_back_by_one_and_by_name(root: str) -> None:
    assert "2024-01-02, run b-2" in roll_back(root, None, None)
    assert latest_table(root).endswith("published/2024-01-02/b-2/recommendations")
    assert "2024-01-02, run b:" in roll_back(root, None, None)
    assert current(root) == (["b"], ["a", "b", "c"])
    roll_back(root, "2024-01-03", None)
    assert current(root) == (["c"], ["a", "b", "c"])
    roll_back(root, "2024-01-02", "b-2")
    assert current(root) == (["b-2"], ["a", "b-2", "c"])
    roll_back(root, "2024-01-01", None)
    with pytest.raises(PublishError, match="Nothing was published before 2024-01-01"):
        roll_back(root, None, None)


@pytest.mark.parametrize(
    ("date", "run", "problem"),
    [
        ("2024-01-09", None, "Nothing is published for 2024-01-09"),
        ("2024-01-02", "x", "no such published run"),
        ("2024-01-02", "../../c", "no id of a run"),
        (None, "b", "without its --date"),
    ],
)
def test_back_to_what_there_is_not(root: str, date: str | None, run: str | None, problem: str) -> None:
    with pytest.raises(PublishError, match=problem):
        roll_back(root, date, run)
    assert current(root)[0] == ["c"]


def test_damage_is_found_and_nobody_is_sent_there(root: str, tmp_path: Path) -> None:
    assert verify(root, every=False).startswith("Published runs: 1, files: 1")
    assert verify(root, every=True).startswith("Published runs: 4, files: 4")
    file = Path(root, "published", "2024-01-01", "a", "recommendations", "part-0.parquet")
    file.unlink()  # else all its names show it
    file.write_bytes(b"sown")
    verify(root, every=False)
    with pytest.raises(PublishError, match=r"2024-01-01/a: recommendations/part-0\.parquet has other bytes"):
        verify(root, every=True)
    with pytest.raises(PublishError, match="The pointers are where they were"):
        roll_back(root, "2024-01-01", None)
    assert current(root)[0] == ["c"]


def test_no_root_and_nothing_published(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no such folder"):
        list_runs(str(tmp_path / "none"), json_output=True)
    with pytest.raises(PublishError, match="nothing is published"):
        verify(str(tmp_path), every=True)
    assert list(tmp_path.iterdir()) == []


def test_published_elsewhere(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "session", lambda: spark)
    url = f"file://{tmp_path}/elsewhere"
    publish(Publication(HadoopStore(spark, url)), tmp_path / "table")
    root = str(tmp_path / "root")
    note_place(Workspace(root), url)
    assert latest_table(root) == f"{url}/published/2024-01-03/c/recommendations"
    assert current(root) == (["c"], ["a", "b-2", "c"])
    roll_back(root, None, None)
    assert current(root)[0] == ["b-2"]
    assert verify(root, every=True).startswith("Published runs: 4")
    note_place(Workspace(root), None)
    with pytest.raises(PublishError, match="nothing is published"):
        latest_table(root)
