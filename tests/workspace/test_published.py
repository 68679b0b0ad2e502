"""The pointer: visible at once, never moved back but by hand, never at a half-written folder; in any kind of store."""

import datetime as dt
import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from kdspark.errors import PublishError
from kdspark.failpoints import VARIABLE
from kdspark.spark.hadoop_store import HadoopStore
from kdspark.workspace import LocalStore, Publication, described

MONDAY, TUESDAY, SUNDAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2023, 12, 31)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "staged"
    folder.mkdir()
    (folder / "part-0.parquet").write_bytes(b"rows")
    (folder / "_SUCCESS").touch()
    return folder


@pytest.fixture(params=["local", "hadoop"])
def publication(request: pytest.FixtureRequest, tmp_path: Path) -> Publication:
    root = tmp_path / "root"
    if request.param == "local":
        return Publication(LocalStore(root))
    spark: SparkSession = request.getfixturevalue("spark")
    return Publication(HadoopStore(spark, f"file://{root}"))


def bytes_of(root: Path) -> dict[str, bytes]:
    """All files but the checksums that Hadoop keeps of local ones."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.suffix != ".crc"}


def test_publish_keeps_hashes_and_points(tmp_path: Path, publication: Publication, table: Path) -> None:
    with pytest.raises(PublishError, match="nothing is published"):
        publication.latest()
    run = publication.publish(MONDAY, "r1", table, {"rows": 4}, described(table))
    shutil.rmtree(table)
    assert publication.latest() == publication.of(MONDAY) == run
    assert publication.url(run).endswith("/root/published/2024-01-01/r1/recommendations")
    folder = tmp_path / "root" / run.name / "recommendations"
    assert [file.name for file in folder.iterdir() if file.suffix != ".crc"] == ["part-0.parquet"]
    entry = run.manifest["files"]["recommendations/part-0.parquet"]
    assert entry["bytes"] == 4
    assert entry["sha256"].startswith("bc51e9e65d79e1c9")  # sha256sum of b"rows"
    assert run.manifest["rows"] == 4
    assert publication.damage(run) == []
    assert not [name for name in bytes_of(tmp_path / "root") if "staging" in name or "tmp" in name]


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
    publication = Publication(LocalStore(tmp_path / "root"))
    run = publication.publish(MONDAY, "r1", table, {}, described(table))
    path = Path(publication.url(run))
    assert [(table / file.name).samefile(file) for file in path.iterdir()] == [linked] * 9
    shutil.rmtree(path.parent)  # what retention does, on either side
    assert (table / "part-8.parquet").read_bytes() == b"\x08"


def test_backfill_does_not_move_latest_back(publication: Publication, table: Path) -> None:
    publication.publish(TUESDAY, "r2", table, {})
    publication.publish(MONDAY, "r1", table, {})
    assert publication.latest().run_id == "r2"
    assert [run.run_id for run in publication.runs()] == ["r2", "r1"]
    before = publication.before(TUESDAY)
    assert before is not None
    assert before.run_id == "r1"
    assert publication.before(MONDAY) is None
    assert publication.of(SUNDAY) is None


def test_rolling_back_and_on(publication: Publication, table: Path) -> None:
    first = publication.publish(MONDAY, "r1", table, {})
    again = publication.publish(MONDAY, "r1-2", table, {})
    second = publication.publish(TUESDAY, "r2", table, {})
    publication.roll_back(first)
    assert publication.latest() == publication.of(MONDAY) == first
    assert publication.of(TUESDAY) == second
    assert again in publication.runs()
    third = publication.publish(dt.date(2024, 1, 3), "r3", table, {})
    assert publication.latest() == third


def test_what_was_rolled_back_from_is_withdrawn(publication: Publication, table: Path) -> None:
    wednesday = dt.date(2024, 1, 3)
    first = publication.publish(MONDAY, "r1", table, {})
    bad = publication.publish(TUESDAY, "r2", table, {})
    publication.roll_back(first)
    assert publication.withdrawn(TUESDAY)
    assert not publication.withdrawn(MONDAY)
    assert publication.before(wednesday) == first
    third = publication.publish(wednesday, "r3", table, {})
    assert publication.earlier(dt.date(2024, 1, 4), 9) == [third, first]
    publication.publish(TUESDAY, "r2-2", table, {})  # made again
    assert not publication.withdrawn(TUESDAY)
    publication.roll_back(bad)  # it was good after all
    assert not publication.withdrawn(TUESDAY)
    assert publication.withdrawn(wednesday)
    assert publication.before(wednesday) == bad


def test_files_that_changed_since_they_were_judged_are_not_published(
    tmp_path: Path, publication: Publication, table: Path
) -> None:
    publication.publish(MONDAY, "r1", table, {})
    before = bytes_of(tmp_path / "root")
    known = described(table)
    (table / "part-0.parquet").unlink()  # else the published one is the same file
    (table / "part-0.parquet").write_bytes(b"sown")
    with pytest.raises(PublishError, match=r"part-0\.parquet has other bytes.*Nothing was published"):
        publication.publish(TUESDAY, "r2", table, {}, known)
    left = bytes_of(tmp_path / "root")
    assert {name: data for name, data in left.items() if "2024-01-02" not in name} == before
    assert not [name for name in left if "2024-01-02" in name]


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda folder: (folder / "part-0.parquet").write_bytes(b"sown"), r"part-0\.parquet has other bytes"),
        (lambda folder: (folder / "part-0.parquet").write_bytes(b"row"), r"has 3 bytes in place of 4"),
        (lambda folder: (folder / "part-0.parquet").unlink(), r"part-0\.parquet is missing"),
        (lambda folder: (folder / "part-1.parquet").write_bytes(b""), r"part-1\.parquet was not there"),
    ],
)
def test_damage_is_named(tmp_path: Path, table: Path, harm: object, problem: str) -> None:
    publication = Publication(LocalStore(tmp_path / "root"))
    run = publication.publish(MONDAY, "r1", table, {})
    shutil.rmtree(table)
    assert callable(harm)
    harm(Path(publication.url(run)))
    damage = publication.damage(run)
    assert len(damage) == 1
    assert re.search(problem, damage[0])


def test_a_manifest_that_was_changed_is_none(tmp_path: Path, publication: Publication, table: Path) -> None:
    run = publication.publish(MONDAY, "r1", table, {"users": 40})
    path = tmp_path / "root" / run.name / "manifest.json"
    text = path.read_text()
    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)  # Hadoop's own
    path.write_text(text.replace("40", "41"))
    with pytest.raises(PublishError, match=r"damaged manifest \(it is not what was written\)"):
        publication.latest()
    assert publication.runs() == []


def test_a_run_is_removed_at_once(publication: Publication, table: Path) -> None:
    first = publication.publish(MONDAY, "r1", table, {})
    publication.publish(TUESDAY, "r2", table, {})
    publication.delete(first)
    assert [run.run_id for run in publication.runs()] == ["r2"]
    assert publication.of(MONDAY) is None
    assert publication.store.folders("published") == ["2024-01-02"]


def test_damaged_pointers_and_ids(publication: Publication, table: Path) -> None:
    publication.publish(MONDAY, "r1", table, {})
    outside = b'{"date": "2024-01-01", "run_id": "../../etc"}'
    for damaged in (b"{}", b"[]", b"", outside, b'{"date": "x", "run_id": "r1"}'):
        publication.store.write("latest.json", damaged)
        with pytest.raises(PublishError, match=r"damaged pointer|no id of a run"):
            publication.latest()
    publication.publish(TUESDAY, "r2", table, {})
    assert publication.latest().run_id == "r2"
    publication.store.write("latest.json", b'{"date": "2024-01-01", "run_id": "r7"}')
    with pytest.raises(PublishError, match="no such published run"):
        publication.latest()


PLACES = ["publish.copied", "publish.manifest", "publish.renamed", "publish.latest", "publish.done"]
_PUBLISH = """
import datetime as dt, sys
from pathlib import Path
from kdspark.workspace import LocalStore, Publication
date, run, table = sys.argv[2:]
publication = Publication(LocalStore(Path(sys.argv[1])))
publication.remove_left()
publication.publish(dt.date.fromisoformat(date), run, Path(table), {})
"""


@pytest.mark.parametrize("place", PLACES)
def test_killed_anywhere_the_pointer_is_at_a_whole_run_and_the_next_try_ends_it(
    tmp_path: Path, table: Path, place: str
) -> None:
    publication = Publication(LocalStore(tmp_path / "root"))
    publication.publish(MONDAY, "r1", table, {})
    command = [sys.executable, "-c", _PUBLISH, str(tmp_path / "root"), "2024-01-02", "r2", str(table)]
    killed = subprocess.run(command, env={**os.environ, VARIABLE: f"{place}=kill"})
    assert killed.returncode == -9
    latest = publication.latest()
    assert latest.run_id == ("r2" if place in ("publish.latest", "publish.done") else "r1")
    assert publication.damage(latest) == []
    assert subprocess.run(command).returncode == 0
    assert publication.latest() == publication.of(TUESDAY)
    assert [run.run_id for run in publication.runs()] == ["r1", "r2"]
    assert not list((tmp_path / "root").rglob("*staging*"))


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from([SUNDAY, MONDAY, TUESDAY]), st.integers(0, 3)), min_size=1, max_size=8))
def test_latest_is_the_newest_date_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, nights: list[tuple[dt.date, int]]
) -> None:
    folder = tmp_path_factory.mktemp("nights")
    (folder / "table").mkdir()
    (folder / "table" / "part-0.parquet").write_bytes(b"rows")
    publication = Publication(LocalStore(folder / "root"))
    last: dict[dt.date, str] = {}
    for date, number in nights:
        publication.publish(date, f"r{number}", folder / "table", {})
        last[date] = f"r{number}"
    newest = max(last)
    assert (publication.latest().date, publication.latest().run_id) == (newest, last[newest])
    assert {date: found.run_id for date in last if (found := publication.of(date))} == last
