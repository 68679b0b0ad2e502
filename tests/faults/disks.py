"""Real small disks, which fill up: a tmpfs, where this user may mount one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdspark.spark.full_disk import free_bytes

_FILLER = "filler"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 2 MiB at a folder; skips the test where none can be mounted (in containers, without root)."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no `mount`")
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> None:
    """Fill a disk up to so many bytes."""
    with (folder / _FILLER).open("wb") as file:
        file.write(bytes(max(0, free_bytes(folder) - leave)))


def make_room(folder: Path) -> None:
    """As an operator does: a larger disk, and what filled it is gone."""
    subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
    (folder / _FILLER).unlink()
