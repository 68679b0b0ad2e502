"""Readers during a publish: fault 4."""

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdspark.workspace import LocalStore, Publication, read_json

MONDAY, TUESDAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2)


@pytest.fixture
def readers(tmp_path: Path) -> Iterator[list[str]]:
    """Two threads that resolve the pointer and read what it names, all the time; what they found wrong."""
    wrong: list[str] = []
    stop = threading.Event()
    publication = Publication(LocalStore(tmp_path / "root"))

    def read() -> None:
        while not stop.is_set():
            run = publication.latest()
            content = {path.read_bytes() for path in Path(publication.url(run)).iterdir()}
            if content != {run.run_id.encode()} or len(list(Path(publication.url(run)).iterdir())) != 3:
                wrong.append(f"{run.run_id}: {content}")

    threads = [threading.Thread(target=read) for _ in range(2)]
    table = tmp_path / "r0"
    write_run(table)
    publication.publish(MONDAY, "r0", table, {})
    for thread in threads:
        thread.start()
    yield wrong
    stop.set()
    for thread in threads:
        thread.join()


def write_run(folder: Path) -> None:
    folder.mkdir()
    for part in range(3):
        (folder / f"part-{part}.parquet").write_bytes(folder.name.encode())


def test_fault_04_readers_never_see_a_mixture(tmp_path: Path, readers: list[str]) -> None:
    publication = Publication(LocalStore(tmp_path / "root"))
    before = Path(publication.url(publication.latest())) / "part-0.parquet"
    with before.open("rb") as opened:
        for number in range(1, 30):
            write_run(tmp_path / f"r{number}")
            publication.publish(TUESDAY, f"r{number}", tmp_path / f"r{number}", {})
        assert opened.read() == b"r0"
    assert readers == []
    assert read_json(tmp_path / "root" / "latest.json")["run_id"] == "r29"
