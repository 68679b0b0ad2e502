"""Spark's own scratch folders on the driver's machine: shuffled rows, spilled rows, shipped files.

A JVM removes its folders when it ends, also where its driver was killed. One that is killed itself, by the kernel for
memory perhaps, leaves them, gigabytes in a folder for temporary files, under names that do not say whose they are. So
each session marks its folders, and the next one on this machine removes those whose driver is gone.
"""

import contextlib
import logging
import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdspark.workspace.owners import is_left, owned

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("kdspark")

_MARK = ".kdspark-driver"
_NAMES = ("blockmgr-*", "spark-*")


def mark(session: "SparkSession") -> None:
    """Say whose this session's folders are, and remove those that dead drivers of this user have left beside them."""
    folders = folders_of(session)
    for folder in folders:
        with contextlib.suppress(OSError):  # the disk may be full: the night will say so
            (folder / _mark()).touch()
    for parent in {folder.parent for folder in folders}:
        remove_left(parent)


def folders_of(session: "SparkSession") -> list[Path]:
    """The driver's folders, one or two in each of `spark.local.dir`."""
    context: Any = session.sparkContext
    blocks = context._jvm.org.apache.spark.SparkEnv.get().blockManager().diskBlockManager().localDirs()
    return [Path(str(folder)) for folder in blocks] + [Path(context._temp_dir).parent]


def remove_left(parent: Path) -> list[Path]:
    """Remove the marked folders in a folder whose drivers are gone; returns them."""
    removed = []
    for folder in (found for pattern in _NAMES for found in parent.glob(pattern)):
        with contextlib.suppress(OSError):
            own = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
            if own and any(is_left(path) for path in folder.glob(f"{_MARK}-*")):
                log.info("%-14s left by a run that has ended: %s", "removed", folder)
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


@cache
def _mark() -> str:
    """One for all sessions of this process: those of one JVM share a folder."""
    return owned(_MARK)
