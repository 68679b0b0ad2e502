"""This process and all that it has started: the JVM, Spark's Python workers, and their children; of Linux's /proc."""

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """Of this process and all below it, those that have ended included."""
    own: dict[int, float] = {}
    parents: dict[int, int] = {}
    for pid, fields in processes():
        parents[pid] = int(fields[1])
        own[pid] = sum(map(int, fields[11:15])) / _TICKS  # user, system, and of children waited for
    return sum(own[pid] for pid in below(os.getpid(), parents))


def timed(method: Callable[[], object]) -> tuple[float, float]:
    """(processor seconds, wall seconds) of a call."""
    cpu, wall = cpu_seconds(), perf_counter()
    method()
    return cpu_seconds() - cpu, perf_counter() - wall


def in_turns(
    methods: dict[str, Callable[[], object]], repeats: int, check: Callable[[], None] | None = None
) -> dict[str, list[tuple[float, float]]]:
    """Method -> (processor seconds, wall seconds) of each turn, in which methods alternate.

    Args:
        check: called when all have been called once, to warm up.
    """
    for method in methods.values():
        method()
    if check is not None:
        check()
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(repeats):
        for name, method in methods.items():
            turns[name].append(timed(method))
    return turns


def processes() -> list[tuple[int, list[str]]]:
    """Of each process its id, and the fields of /proc/PID/stat from the state on, with its name last."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            start, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:  # it has just ended
            continue
        found.append((int(folder.name), [*rest.split(), start.partition("(")[2]]))
    return found


def below(root: int, parents: dict[int, int]) -> set[int]:
    """A process and all below it."""
    tree = {root} & parents.keys()
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree
