"""Names of scratch files and folders that say whose they are, so that what a dead process left can be told apart.

A name ends in `-<machine>-<process>-<random>`. Of this machine's a process that is no longer there left it; of another
machine, or of a container that is gone, nobody knows, and it counts as left after a week without a change.
"""

import os
import re
import socket
import time
import uuid
from functools import cache
from hashlib import sha256
from pathlib import Path

_NAME = re.compile(r"-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}$")
_FOREIGN_S = 7 * 24 * 3600


def owned(name: str) -> str:
    """A new name of this process: `name` and whose it is."""
    return f"{name}-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def is_left(path: Path) -> bool:
    """Whether a path, named by `owned`, was left by a process that is gone; False for any other name."""
    found = _NAME.search(path.name)
    if found is None:
        return False
    machine, process = found.groups()
    if machine == _machine():
        return not is_running(int(process))
    try:
        return time.time() - path.stat().st_mtime > _FOREIGN_S
    except FileNotFoundError:
        return False


def is_running(process: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@cache
def _machine() -> str:
    return sha256(socket.gethostname().encode()).hexdigest()[:8]
