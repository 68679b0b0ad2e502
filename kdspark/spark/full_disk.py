"""A full disk in one line: where, how much room there is, and what to do.

It shows in many forms: as an OSError here or in a Python worker, as Arrow's, and as a Java exception deep in a failed
job, often without a path. Then the stack tells whether Spark's scratch folders or a table were written; if not even
that, the place with the least room is named.
"""

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from kdspark.errors import KdsparkError, StageError

LOCAL_DIR = "spark.local.dir"
_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|There is not enough space on the disk")
_PATHS = (
    re.compile(rf"(?:{_FULL.pattern}): '([^'\n]+)'"),  # Python's
    re.compile(rf"(/[^\n:]+) \((?:{_FULL.pattern})\)"),  # Java's, when a file is opened
    re.compile(r"writing rows to (?:file:)?(?://)?(/[^\n]+?)\.?(?: SQLSTATE.*)?$", re.MULTILINE),  # Spark's
)
_SCRATCH = re.compile(
    r"blockmgr-|org\.apache\.spark\.(shuffle|broadcast)\.|DiskBlock|DiskStore|BlockManager\.(put|doPut)|unsafe\.sort\."
    r"|SpillWriter|SparkContext\.addFile|Utils\$?\.(copyFile|fetchFile)"
)


def places(root: Path, settings: Mapping[str, str]) -> dict[str, list[Path]]:
    """What may be full, in a user's words, and where it lies.

    Args:
        settings: of Spark.
    """
    temporary = tempfile.gettempdir()
    local = os.environ.get("SPARK_LOCAL_DIRS") or settings.get(LOCAL_DIR) or temporary
    return {"--root": [root], LOCAL_DIR: [Path(one) for one in local.split(",")], "TMPDIR": [Path(temporary)]}


@contextmanager
def full_disks(where: Callable[[], Mapping[str, list[Path]]]) -> Iterator[None]:
    """Raise a StageError for what failed because a disk was full; all other exceptions stay what they are.

    Args:
        where: as `places`; asked only then.
    """
    try:
        yield
    except KdsparkError:
        raise
    except Exception as error:
        text = next((text for one in _chain(error) if (text := _text_if_full(one)) is not None), None)
        if text is None:
            raise
        raise _full(text, where()) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _text_if_full(error: BaseException) -> str | None:
    """All that an exception says, if it says that a disk is full."""
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return f"No space left on device: '{error.filename}'" if error.filename else str(error)
    java: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    said = [str(error)]
    while java is not None:
        said += [str(java.toString()), *(f"at {frame}" for frame in java.getStackTrace())]
        java = java.getCause()
    text = "\n".join(said)
    return text if _FULL.search(text) else None


def _full(text: str, where: Mapping[str, list[Path]]) -> StageError:
    folders = [(what, path) for what, paths in where.items() for path in paths]
    path = next((Path(unquote(match[1])) for pattern in _PATHS if (match := pattern.search(text))), None)
    if path is None:
        wanted = [one for one in folders if one[0] == LOCAL_DIR] if _SCRATCH.search(text) else folders
        path = min((path for _, path in wanted), key=free_bytes)
    names = [what for what, folder in folders if path.is_relative_to(folder)]
    return StageError(
        f"{path}: no space left on the device ({free_bytes(path) / 2**20:,.1f} MiB are free).",
        f"Make room there, or choose another place ({names[0] if names else 'of the path'}); then run the same command "
        "again: it goes on where it stopped.",
    )


def free_bytes(path: Path) -> int:
    """Room at a path, or at the nearest folder above it that there is."""
    for folder in (path, *path.parents):
        try:
            status = os.statvfs(folder)
        except OSError:
            continue
        return status.f_bavail * status.f_frsize
    return 0
