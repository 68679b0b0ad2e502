"""Scratch folders outside ROOT, in the machine's folder for temporary files, with names that say whose they are.

A process that ends removes its own. One that is killed cannot: so whoever makes a scratch folder first removes what
dead processes of the same user have left beside it. What a running process has, or another user, is never touched.
"""

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdspark.workspace.owners import is_left, owned

log = logging.getLogger("kdspark")


@contextmanager
def scratch(prefix: str, parent: str | Path | None = None) -> Iterator[Path]:
    """A folder, readable by this user alone, that is removed on leaving.

    Args:
        prefix: of its name; what dead processes have left under it is removed first.
        parent: where; None: the machine's folder for temporary files.
    """
    folder = _make(prefix, parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def scratch_until_exit(prefix: str, parent: str | Path | None = None) -> Path:
    """As `scratch`, removed when this process ends."""
    folder = _make(prefix, parent)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def remove_left_scratch(prefix: str, parent: str | Path | None = None) -> list[Path]:
    """Remove the folders of this prefix that dead processes of this user have left; returns them."""
    removed = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent or tempfile.gettempdir()):
            path = Path(entry.path)
            if not entry.name.startswith(f"{prefix}-") or not is_left(path) or not _is_own_folder(entry):
                continue
            log.info("%-14s left by a run that has ended: %s", "removed", path)
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def _make(prefix: str, parent: str | Path | None) -> Path:
    remove_left_scratch(prefix, parent)
    folder = Path(parent or tempfile.gettempdir(), owned(prefix)).absolute()
    folder.mkdir(mode=0o700)  # a name that nobody can have taken before
    return folder


def _is_own_folder(entry: "os.DirEntry[str]") -> bool:
    """Others may put a link of such a name where everybody may write."""
    return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid()
