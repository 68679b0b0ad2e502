"""Ends a process in which a thread is blocked for good, as in a read from storage that does not answer any more.

Such a thread cannot be stopped, and an orderly end may wait for it, or for the same storage. A process that `arm`ed its
watchdog ends all the same: in order if that takes no longer than a grace period, and else at once. Where not even
Python runs any more while somebody waits, since the blocked thread keeps the interpreter's lock, faulthandler's own
thread prints the stacks of all threads and ends the process with code 1. Nothing of this happens in a process that has
not armed it.
"""

import atexit
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from kdspark.errors import StalledError

GRACE_S = 30.0
_armed = threading.Event()


def arm() -> None:
    """This process is one that may be ended."""
    _armed.set()


def disarm() -> None:
    """It is not, or no more."""
    _armed.clear()


@contextmanager
def expected_within(seconds: float) -> Iterator[None]:
    """While this thread waits, so long at most: if it does not come back, not even late, stacks are printed, and the
    process ends."""
    if not _armed.is_set() or sys.__stderr__ is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def stalled(error: StalledError) -> None:
    """A thread is blocked for good: from now on the process has the grace period to end in order."""
    if _armed.is_set():
        threading.Thread(target=_last_resort, args=(error,), name="kdspark-watchdog", daemon=True).start()


def end(code: int) -> NoReturn:
    """End without waiting for threads: what is registered for the exit is run, as far as the grace period lasts."""
    leaving = threading.Thread(target=atexit._run_exitfuncs, daemon=True)
    leaving.start()
    leaving.join(GRACE_S)
    _leave(code)


def _last_resort(error: StalledError) -> None:
    time.sleep(GRACE_S)
    sys.stderr.write(f"kdspark: error: {error}\n")
    _leave(error.exit_code)


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
