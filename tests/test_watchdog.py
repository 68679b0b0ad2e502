"""A process with a thread that is blocked for good ends all the same."""

import subprocess
import sys
import time

import pytest

HEAD = """
import ctypes, sys, threading, time
from kdspark import cli, watchdog
from kdspark.distill.prefetch import prefetched

watchdog.GRACE_S = 3.0
"""
BLOCKED = """
def source():
    yield 1
    time.sleep(600)  # in C, and deaf to everything

def stall(**_):
    list(prefetched(source(), "rows of /data", 0.3))
"""
BLOCKED_CLEANING = f"""{BLOCKED}
def stall(**_):
    try:
        list(prefetched(source(), "rows of /data", 0.3))
    finally:
        time.sleep(600)  # the folder that is cleaned up is on the same storage
"""
LOCKED = """
def source():
    yield 1
    time.sleep(0.2)
    ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock

def stall(**_):
    list(prefetched(source(), "rows of /data", 0.3))
"""
TAIL = """
cli.app = stall
threading.Thread(target=time.sleep, args=(600,)).start()  # one that an orderly end would wait for
cli.main([])
"""


@pytest.mark.parametrize(("body", "code"), [(BLOCKED, 5), (BLOCKED_CLEANING, 5), (LOCKED, 1)])
def test_fault_27_a_blocked_thread_does_not_keep_the_process(body: str, code: int) -> None:
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", HEAD + body + TAIL], capture_output=True, text=True, timeout=60)
    assert ended.returncode == code, ended.stderr
    assert time.monotonic() - started < 20
    assert "in source" in ended.stderr  # the stack that says where it hangs
    if code == 5:
        assert "kdspark: error: rows of /data: no data within 0.3 s (`loader.stall_seconds`)." in ended.stderr
        assert ended.stderr.count("kdspark: error:") == 1
        assert "Traceback" not in ended.stderr
