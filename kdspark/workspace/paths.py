"""What may become part of a path below ROOT, and paths that stay below it.

ROOT itself may be a link, and so may the paths of input files. Below ROOT, links would let whoever plants one choose
what a night reads, replaces or deletes elsewhere.
"""

import datetime as dt
import re
from pathlib import Path

from kdspark.errors import ConfigError, KdsparkError, StageError

RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
"""Of runs; names of stages and of their folders are alike."""
# Timestamps count from 1970; a night ends where the next day begins, and no day follows the last one.
_FIRST, _LAST = dt.date(1970, 1, 1), dt.date.max - dt.timedelta(days=1)


def parse_date(text: str) -> dt.date:
    """A strict ISO date (YYYY-MM-DD) from 1970-01-01 to 9999-12-30.

    Raises:
        ConfigError: anything else; a date becomes part of paths, so nothing else may pass.
    """
    try:
        date = dt.date.fromisoformat(text)
    except ValueError:
        date = None  # type: ignore[assignment]
    if date is None or date.isoformat() != text:
        raise ConfigError(f"--date {text!r} is not a date.", "Write it as YYYY-MM-DD, such as 1998-04-23.")
    if not _FIRST <= date <= _LAST:
        raise ConfigError(
            f"--date {text} is not between {_FIRST} and {_LAST}.", "Give the night's own date, YYYY-MM-DD."
        )
    return date


def is_inside(root: Path, path: Path) -> bool:
    """Whether a path, its links followed, lies below a folder, whose links are followed too."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False


def inside(root: Path, path: Path, kind: type[KdsparkError] = StageError) -> Path:
    """The path, if it is inside.

    Raises:
        KdsparkError: of this kind: a link leads out of `root`.
    """
    if not is_inside(root, path):
        raise kind(
            f"{path}: a link there leads out of {root}.",
            "Replace it by what it points to; to keep things on another disk, make all of --root a link, or mount it.",
        )
    return path


def links_in(folder: Path) -> list[str]:
    """Names of the links below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink())
