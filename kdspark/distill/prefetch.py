"""Reading ahead in a background thread, with a watchdog: a source that hangs becomes an error, not a hung night."""

import faulthandler
import logging
import queue
import tempfile
import threading
from collections.abc import Iterator
from typing import TypeVar

from kdspark import watchdog
from kdspark.errors import StalledError

_POLL_S = 0.1
_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def prefetched(source: Iterator[_Item], what: str, timeout_s: float, depth: int = 2) -> Iterator[_Item]:
    """The items of `source` in their order, read ahead by one thread.

    Closing this iterator waits until the source has finished the item it is working on, so that the caller can
    release what the source uses.

    Args:
        source: is advanced in the background thread only.
        what: named in the error.
        timeout_s: seconds to wait for one item.
        depth: items read ahead.

    Raises:
        StalledError: no item came within `timeout_s`; the stacks of all threads are in the log.
        Exception: whatever `source` raises.
    """
    channel: queue.Queue[object] = queue.Queue(maxsize=depth)
    closing = threading.Event()
    thread = threading.Thread(target=_pump, args=(source, channel, closing), name="kdspark-prefetch", daemon=True)
    thread.start()
    grace_s = timeout_s
    try:
        while True:
            try:
                with watchdog.expected_within(timeout_s):
                    item = channel.get(timeout=timeout_s)
            except queue.Empty:
                grace_s = 0.0
                _log.error("%s: stalled; stacks of all threads:\n%s", what, _stacks())
                error = StalledError(
                    f"{what}: no data within {timeout_s:g} s (`loader.stall_seconds`).",
                    "Check the storage; the log shows the stacks of all threads. Then run the same command again.",
                )
                watchdog.stalled(error)
                raise error from None
            if item is _END:
                return
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        closing.set()
        thread.join(grace_s)


def _pump(source: Iterator[object], channel: "queue.Queue[object]", closing: threading.Event) -> None:
    try:
        for item in source:
            _put(channel, item, closing)
            if closing.is_set():
                return
        _put(channel, _END, closing)
    except BaseException as error:  # handed over to the consumer
        _put(channel, _Failed(error), closing)


def _put(channel: "queue.Queue[object]", item: object, closing: threading.Event) -> None:
    while not closing.is_set():
        try:
            channel.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return


def _stacks() -> str:
    with tempfile.TemporaryFile() as file:  # faulthandler writes to a file descriptor
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read().decode(errors="replace")
