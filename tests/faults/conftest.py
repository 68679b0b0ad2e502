"""What an uninterrupted night publishes, and a cluster for those that need one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cluster import Cluster
from tests.faults.nights import FaultyNight


@pytest.fixture(scope="session")
def gold(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """GOLD: its sorted rows (user, rank, item, score, reason)."""
    night = FaultyNight(tmp_path_factory.mktemp("gold"))
    ended = night.run()
    assert ended.code == 0, ended.log
    rows = night.rows
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
