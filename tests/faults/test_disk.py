"""Full disks: fault 8. What each looks like from inside is in tests/spark/test_full_disk.py."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.disks import fill, make_room, small_disk
from tests.faults.nights import SPARK, FaultyNight

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(("place", "leave"), [("stages", 256 << 10), ("checkpoints", 0), ("spark.local.dir", 32 << 10)])
def test_fault_08_a_full_disk(tmp_path: Path, gold: list[tuple[Any, ...]], place: str, leave: int) -> None:
    local = place == "spark.local.dir"
    folder = tmp_path / "scratch" if local else tmp_path / "root" / place
    settings = {**SPARK["settings"], **({"spark.local.dir": str(folder)} if local else {})}
    night = FaultyNight(tmp_path, spark={**SPARK, "settings": settings})
    with small_disk(folder):
        fill(folder, leave)
        failed = night.run()
        assert failed.code == 4, failed.log
        (line,) = failed.errors
        assert str(folder) in line
        assert "no space left on the device" in line
        assert "run the same command again" in line
        assert "Traceback" not in failed.log
        assert night.tree == {}
        make_room(folder)
        again = night.run()
        assert again.code == 0, again.log
        assert night.rows == gold
