"""A night's end, for every date that can be given."""

from pathlib import Path

import pytest

from kdspark.config import parse_config
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace, parse_date
from tests.config.test_load import minimal

DAY_US = 86_400_000_000


@pytest.mark.parametrize(
    ("date", "days"), [("1970-01-01", 1), ("1970-12-31", 365), ("2000-03-01", 11_018), ("9999-12-30", 2_932_896)]
)
def test_a_night_ends_where_the_next_day_begins(date: str, days: int, tmp_path: Path) -> None:
    night = Night(parse_config(minimal()), parse_date(date), Workspace(tmp_path), lambda: pytest.fail("no session"))
    assert night.end_us == days * DAY_US
