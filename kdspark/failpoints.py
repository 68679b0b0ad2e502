"""Places where a test makes a night fail: by name, from the environment, and nowhere else.

Without KDSPARK_FAILPOINTS in the environment a place costs one look at it and does nothing. With it, such as

    KDSPARK_FAILPOINTS="score.built=kill; publish.pointer=sleep:5; labels.task=kill@0"

the process that comes to a place kills itself with SIGKILL, as a machine does that is switched off; `raise` raises
`FailpointError`, which is no KdsparkError, and so a crash; `sleep` waits. `@n`: in a task's n-th attempt alone. Before
that it says so on stderr; a worker's is its executor's.
"""

import os
import signal
import sys
import time

VARIABLE = "KDSPARK_FAILPOINTS"


class FailpointError(Exception):
    """What a failpoint raises."""


def reached(place: str, attempt: int = 0) -> None:
    """Do what the environment says of this place.

    Args:
        place: `<stage>.<what is about to happen, or has just happened>`.
        attempt: of the task, where it is in one.

    Raises:
        FailpointError: as told.
        ValueError: the environment holds an action that there is not.
    """
    told = os.environ.get(VARIABLE)
    if not told:
        return
    for entry in told.split(";"):
        name, _, action = entry.strip().partition("=")
        action, _, only = action.partition("@")
        if name == place and (not only or int(only) == attempt):
            print(f"failpoint {entry.strip()}", file=sys.stderr, flush=True)
            _act(place, *action.partition(":")[::2])


def _act(place: str, action: str, argument: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise FailpointError(place)
    elif action == "sleep":
        time.sleep(float(argument))
    else:
        raise ValueError(f"{VARIABLE}: {place}={action}: no such action")
