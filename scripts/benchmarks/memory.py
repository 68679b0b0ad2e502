"""Memory of a process and all that it has started, by kind, and the peaks of it."""

import os
import re
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType

from processes import below, processes

DRIVER, JVM, WORKERS, ALL = "driver", "jvm", "workers", "all"
"""Kinds of processes: Python's driver, Java's virtual machine, whatever that has started, and all together."""

_GIB_OF_KB = 2**20


def memory_gib(root: int) -> dict[str, float]:
    """Proportional set size by kind of process, of a process and all below it: pages that several have are shared out,
    so that the sum is what they take together."""
    names: dict[int, str] = {}
    parents: dict[int, int] = {}
    for pid, fields in processes():
        names[pid], parents[pid] = fields[-1], int(fields[1])
    tree = below(root, parents)
    machines = {pid for pid in tree if names[pid] == "java"}
    started = set[int]().union(*(below(pid, parents) - {pid} for pid in machines)) - machines
    sizes: dict[str, float] = defaultdict(float)
    for pid in tree:
        size = _proportional_kb(pid) / _GIB_OF_KB
        sizes[JVM if pid in machines else WORKERS if pid in started else DRIVER] += size
        sizes[ALL] += size
    return dict(sizes)


class PeakMemory:
    """The largest `memory_gib` of each kind while a block runs, by a thread that looks every so many seconds.

    Args:
        root: the process whose tree is looked at; this one by default.

    Attributes:
        phase: what is going on, set by whoever knows; peaks are kept for each phase apart.
        peaks: phase -> kind -> GiB.
    """

    def __init__(self, root: int | None = None, every_s: float = 1.0) -> None:
        self._root, self._every_s = root or os.getpid(), every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.phase = ""
        self.peaks: dict[str, dict[str, float]] = {}

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def overall(self, kind: str = ALL) -> float:
        """Of all phases, GiB; 0 if there was no such process."""
        return max((peaks.get(kind, 0.0) for peaks in self.peaks.values()), default=0.0)

    def _watch(self) -> None:
        while True:
            phase = self.phase
            known = self.peaks.setdefault(phase, {})
            for kind, size in memory_gib(self._root).items():
                known[kind] = max(known.get(kind, 0.0), size)
            if self._done.wait(self._every_s):
                return


def _proportional_kb(pid: int) -> int:
    try:
        found = re.search(r"^Pss: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
