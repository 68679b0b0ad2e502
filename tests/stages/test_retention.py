"""Old runs go with what only they were made from; what anything points to stays."""

import datetime as dt
from pathlib import Path

import pytest

from kdspark.stages.retention import remove_old
from kdspark.workspace import LocalStore, Manifest, Publication, Workspace, digest_of

FIRST = dt.date(2024, 1, 1)


class Nights:
    """Published nights, each of a stage `score` of its own, made from a `prepare` that two nights share."""

    def __init__(self, root: Path) -> None:
        self.workspace, self.publication = Workspace(root), Publication(LocalStore(root))
        self.table = root / "table"
        self.table.mkdir()
        (self.table / "part-0.parquet").write_bytes(b"rows")

    def finish(self, stage: str, number: int, **inputs: str) -> str:
        key = digest_of([stage, number])
        if self.workspace.finished(stage, key) is None:
            with self.workspace.staging(stage, key) as staged:
                (staged / "part").write_text(stage)
                self.workspace.finish(staged, Manifest(stage, key, inputs, {}))
        return key

    def publish(self, number: int, date: dt.date | None = None) -> None:
        prepared = self.finish("prepare", number // 2)
        scored = self.finish("score", number, prepare=prepared)
        stages = {"score": self.workspace.stage_folder("score", scored).name}
        date = date or FIRST + dt.timedelta(number)
        self.publication.publish(date, f"r{number}", self.table, {"stages": stages})

    @property
    def left(self) -> tuple[list[str], int, int]:
        """Ids of runs, and how many outputs of both stages there are."""
        stages = (len(list((self.workspace.root / "stages" / name).iterdir())) for name in ("prepare", "score"))
        return [run.run_id for run in self.publication.runs()], *stages


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_the_last_runs_are_kept_with_what_they_share(nights: Nights) -> None:
    for number in range(5):
        nights.publish(number)
    nights.finish("prepare", 99)  # of which nothing was published
    remove_old(nights.workspace, nights.publication, keep=9)
    assert nights.left == (["r0", "r1", "r2", "r3", "r4"], 4, 5)
    remove_old(nights.workspace, nights.publication, keep=2)
    assert nights.left == (["r3", "r4"], 3, 2)  # r3 needs what r2 needed, too
    assert nights.publication.damage(nights.publication.latest()) == []


def test_what_is_pointed_to_is_kept(nights: Nights) -> None:
    for number in range(4):
        nights.publish(number)
    nights.publish(7, FIRST + dt.timedelta(3))
    nights.publication.roll_back(nights.publication.run(FIRST, "r0"))
    remove_old(nights.workspace, nights.publication, keep=1)
    assert nights.left[0] == ["r0", "r7"]


def test_a_run_that_cannot_be_removed_stays_whole(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        nights.publish(number)

    def refuse(*_: object) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(nights.publication, "delete", refuse)
    remove_old(nights.workspace, nights.publication, keep=1)
    assert nights.left == (["r0", "r1", "r2"], 2, 3)
