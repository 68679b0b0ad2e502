"""What an uninterrupted night publishes."""

from pathlib import Path
from typing import Any

import pytest

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
