"""What an uninterrupted night publishes, and a cluster for those that need one."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cluster import Cluster
from tests.faults.nights import FaultyNight


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaultyNight, float]:
    """A night that nothing happens to, and how many seconds it took."""
    night = FaultyNight(tmp_path_factory.mktemp("gold"))
    started = time.monotonic()
    ended = night.run()
    assert ended.code == 0, ended.log
    return night, time.monotonic() - started


@pytest.fixture(scope="session")
def gold(uninterrupted: tuple[FaultyNight, float]) -> list[tuple[Any, ...]]:
    """GOLD: its sorted rows (user, rank, item, score, reason)."""
    rows = uninterrupted[0].rows
    assert len(rows) == 40 * 5
    return rows


@pytest.fixture
def night(tmp_path: Path) -> FaultyNight:
    """A night that has not been run."""
    return FaultyNight(tmp_path)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """C2."""
    with Cluster.start(tmp_path_factory.mktemp("cluster")) as started:
        yield started
