"""A generated log (scripts/make_logs) in a folder of a benchmark: written once, used again."""

import datetime as dt
import shutil
import subprocess
import sys
from pathlib import Path

USERS, ITEMS, EVENTS_PER_USER = 400_000, 50_000, 50
EVENTS = USERS * EVENTS_PER_USER
_DAYS = 60
LAST_DAY = dt.date(2024, 1, 1) + dt.timedelta(days=_DAYS - 1)


def generated_log(out: Path, users: int, items: int, events: int) -> Path:
    """The folder of a log of this shape, below `out`."""
    folder = out / f"logs-{users}-{items}-{events}"
    if not (folder / "config.yaml").exists():
        shutil.rmtree(folder, ignore_errors=True)
        sizes = {"users": users, "items": items, "events": events, "days": _DAYS, "out": folder}
        options = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
        command = [sys.executable, Path(__file__).with_name("make_logs.py"), *options]
        subprocess.run(command, check=True, stdout=2)  # a benchmark's own output is its table alone
    return folder
