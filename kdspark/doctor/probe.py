"""What runs on executors. It is sent as it is, and so names nothing but Python's own library: an executor may lack
kdspark itself, which is one of the things to find out."""

from collections.abc import Iterable, Iterator
from typing import Any


def probe(tasks: Iterable[int], token: str | None, packages: list[str], wait_s: float) -> Iterator[dict[str, Any]]:
    """What an executor is like.

    Args:
        tasks: of the partition; not looked at.
        token: path of a file that the driver has written; None for none.
        packages: whose versions are asked for.
        wait_s: so that every executor gets a task.
    """
    import importlib.metadata
    import os
    import platform
    import socket
    import sys
    import tempfile
    import time
    from pathlib import Path

    def version(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def can(action: Any) -> str:
        try:
            action()
        except OSError as error:
            return str(error.strerror)
        return ""

    found: dict[str, Any] = {
        "host": socket.gethostname(),
        "executor": os.getppid(),  # a worker's parent, of which each executor of a host has its own
        "python": platform.python_version(),
        "program": sys.executable,
        "packages": {name: version(name) for name in packages},
        "time": time.time(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    if token is not None:
        mine = Path(f"{token}-{os.getpid()}-{time.time_ns()}")
        found["reads"] = can(lambda: Path(token).read_bytes())
        found["writes"] = can(mine.touch)
        found["made"] = str(mine)
    with tempfile.TemporaryDirectory() as scratch:
        found["scratch"] = can((Path(scratch) / "probe").touch)
    time.sleep(wait_s)
    yield found
