"""Processor time of everything that this process has started: the JVM, Spark's Python workers, and their children."""

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """Of this process and all below it, those that have ended included; of Linux's /proc."""
    own: dict[int, float] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(folder.name)] = int(fields[1])
        own[int(folder.name)] = sum(map(int, fields[11:15])) / _TICKS  # user, system, and of children waited for
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(own[pid] for pid in below)


def timed(method: Callable[[], object]) -> tuple[float, float]:
    """(processor seconds, wall seconds) of a call."""
    cpu, wall = cpu_seconds(), perf_counter()
    method()
    return cpu_seconds() - cpu, perf_counter() - wall
