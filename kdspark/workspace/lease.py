"""The lease of a date: who holds it runs the night; a second run of the date ends at once, and writes nothing.

The holder renews it; what is not renewed has run out, and what a dead process of this machine holds is free at once.
Clocks of machines that share a ROOT must agree to within half a minute.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdspark.errors import LeaseError
from kdspark.workspace.files import read_json, write_json
from kdspark.workspace.lock import exclusive
from kdspark.workspace.owners import is_running

log = logging.getLogger("kdspark")

_LASTS_S = 120.0


class Lease:
    """A lease that this process holds.

    Args:
        path: its file.
        what: for messages, such as "The night of 2024-01-02".
        lasts_s: seconds after which it runs out unless it is renewed, which a thread does three times as often.

    Raises:
        LeaseError: another run holds it.
    """

    def __init__(self, path: Path, what: str, lasts_s: float = _LASTS_S) -> None:
        self._path, self._what, self._lasts_s = path, what, lasts_s
        self._holder = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
        self._given_up = threading.Event()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            holder = _read(path)
            if holder is not None and _holds(holder):
                raise LeaseError(
                    f"{what} is being run by process {holder['pid']} on {holder['host']} ({path}).",
                    f"Wait for it, or end it: its lease then runs out within {lasts_s:.0f} seconds.",
                )
            if holder is not None:
                log.warning("%-14s %s left a lease that has run out", "lease", f"{holder['host']}:{holder['pid']}")
            self._write()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LeaseError if another run has taken over, as after a sleep of this machine."""
        holder = _read(self._path)
        if holder is None or holder["token"] != self._holder["token"]:
            raise LeaseError(
                f"{self._what}: the lease ran out, and another run has taken over ({self._path}).",
                "Nothing more is written; look at the other run.",
            )

    def give_up(self) -> None:
        """Free it, if it is still held."""
        self._given_up.set()
        self._thread.join()
        with self._alone():
            holder = _read(self._path)
            if holder is not None and holder["token"] == self._holder["token"]:
                self._path.unlink()

    def _keep(self) -> None:
        while not self._given_up.wait(self._lasts_s / 3):
            try:
                with self._alone():
                    self.check()
                    self._write()
            except LeaseError:
                return
            except OSError as error:  # it has two more tries before it runs out
                log.warning("%-14s cannot be renewed: %s", "lease", error)

    def _write(self) -> None:
        write_json(self._path, {**self._holder, "until": time.time() + self._lasts_s})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Reading and writing it is one step."""
        with exclusive(self._path.with_suffix(".lock"), "Another look at this lease", wait=True):
            yield


@contextmanager
def held(path: Path, what: str, lasts_s: float = _LASTS_S) -> Iterator[Lease]:
    """Hold a lease. Raises LeaseError as `Lease` does."""
    lease = Lease(path, what, lasts_s)
    try:
        yield lease
    finally:
        lease.give_up()


def refuse_held(path: Path, what: str) -> None:
    """Raise LeaseError if somebody holds a lease that is in the way.

    Two kinds of work that exclude each other take their own lease first, and then look for the other's.
    """
    holder = _read(path)
    if holder is not None and _holds(holder):
        raise LeaseError(
            f"{what} by process {holder['pid']} on {holder['host']} ({path}).",
            "Wait for it, and run the command again.",
        )


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is none, or a damaged one."""
    try:
        found = read_json(path)
        return {"host": str(found["host"]), "pid": int(found["pid"]), "token": found["token"], "until": found["until"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _holds(holder: dict[str, Any]) -> bool:
    if holder["host"] == socket.gethostname() and not is_running(holder["pid"]):
        return False
    return float(holder["until"]) > time.time()
