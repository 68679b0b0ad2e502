"""What a verb does before any stage: whether it is done, whether another run is at it, what dead ones left."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kdspark.config import parse_config
from kdspark.errors import LeaseError
from kdspark.stages import pipeline
from kdspark.stages.publish import config_digest
from kdspark.stages.stage import Night
from kdspark.workspace import LocalStore, Publication, Workspace, held, parse_date
from kdspark.workspace.owners import owned
from tests.stages.tiny import tiny_config
from tests.workspace.left import left_name

DATE = "2024-01-02"


class Verbs:
    """Runs verbs whose stages do nothing; `ran` are the nights and verbs that came so far."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.path = folder / "root", folder / "night.yaml"
        self.path.write_text(yaml.safe_dump(tiny_config(folder)))
        self.ran: list[tuple[Night, str]] = []
        monkeypatch.setattr(pipeline, "run_night", lambda night, verb: self.ran.append((night, verb)))

    def run(self, verb: str = "run", *overrides: str, force: bool = False) -> None:
        pipeline.run_verb(verb, str(self.path), DATE, str(self.root), list(overrides), force)

    def publish(self, folder: Path) -> None:
        folder.mkdir()
        config = parse_config(yaml.safe_load(self.path.read_text()))
        publication = Publication(LocalStore(self.root))
        publication.publish(parse_date(DATE), "r1", folder, {"config": config_digest(config)})


@pytest.fixture
def verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    return Verbs(tmp_path, monkeypatch)


def test_a_published_date_is_done_unless_forced(verbs: Verbs, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    verbs.run()
    verbs.publish(tmp_path / "table")
    with caplog.at_level("INFO", "kdspark"):
        verbs.run()
        verbs.run("publish", "scoring.k=4")
    assert [verb for _, verb in verbs.ran] == ["run"]
    assert "published as run r1; nothing to do" in caplog.messages[0]
    assert "published as run r1, with another configuration; nothing to do" in caplog.messages[1]
    verbs.run("score")
    verbs.run(force=True)
    assert [(night.force, verb) for night, verb in verbs.ran[1:]] == [(False, "score"), (True, "run")]


@pytest.mark.parametrize("published", [True, False])
def test_what_a_dead_run_left_is_removed_also_if_it_had_published(
    verbs: Verbs, tmp_path: Path, published: bool
) -> None:
    mine, folders = owned("staging-x"), [verbs.root / "stages" / "publish", verbs.root / "published" / DATE]
    for folder in folders:
        for name in (mine, left_name("staging-x")):
            (folder / name).mkdir(parents=True)
    if published:
        verbs.publish(tmp_path / "table")
    verbs.run()
    assert bool(verbs.ran) != published
    for folder in folders:
        assert [path.name for path in folder.glob("staging-*")] == [mine]


def test_one_run_per_date(verbs: Verbs) -> None:
    with held(Workspace(verbs.root).lease(parse_date(DATE)), "The night"), pytest.raises(LeaseError):
        verbs.run("score")
    verbs.run("score")
    (night, _), *more = verbs.ran
    assert night.lease is not None
    assert not more
    assert not Workspace(verbs.root).lease(parse_date(DATE)).exists()


def test_the_lease_ends_with_a_failed_night(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(pipeline, "run_night", fail)
    with pytest.raises(RuntimeError):
        verbs.run()
    assert not Workspace(verbs.root).lease(parse_date(DATE)).exists()
