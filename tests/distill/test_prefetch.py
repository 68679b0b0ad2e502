"""Reading ahead: order, errors, a hanging source, and a consumer that leaves early."""

import logging
import threading
import time

import pytest

from kdspark.distill.prefetch import prefetched
from kdspark.errors import StalledError


def test_all_items_in_their_order():
    assert list(prefetched(iter(range(100)), "numbers", 5.0)) == list(range(100))
    assert list(prefetched(iter(()), "nothing", 5.0)) == []


def test_reads_ahead_no_further_than_asked():
    taken = []

    def source():
        for number in range(50):
            taken.append(number)
            yield number

    ahead = prefetched(source(), "numbers", 5.0, depth=3)
    assert next(ahead) == 0
    time.sleep(0.3)
    assert len(taken) <= 1 + 3 + 1  # given out, waiting, in hand
    ahead.close()


def test_the_sources_error_comes_after_its_items():
    def source():
        yield 1
        raise KeyError("broken")

    ahead = prefetched(source(), "numbers", 5.0)
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="broken"):
        next(ahead)


def test_a_hanging_source_is_an_error_with_stacks_in_the_log(caplog):
    release = threading.Event()

    def source():
        yield 1
        release.wait(30)

    ahead = prefetched(source(), "rows of /data", 0.2)
    assert next(ahead) == 1
    with caplog.at_level(logging.ERROR), pytest.raises(StalledError, match=r"rows of /data: no data within 0\.2 s"):
        next(ahead)
    release.set()
    assert "release.wait" in caplog.text or "in source" in caplog.text


def test_closing_early_waits_for_the_item_in_work():
    done = threading.Event()

    def source():
        for number in range(1000):
            done.clear()
            time.sleep(0.01)
            done.set()
            yield number

    before = set(threading.enumerate())  # a stalled thread of another test may still be on its way out
    ahead = prefetched(source(), "numbers", 5.0)
    next(ahead)
    (pump,) = (t for t in threading.enumerate() if t.name == "kdspark-prefetch" and t not in before)
    ahead.close()
    assert done.is_set()
    assert not pump.is_alive()
