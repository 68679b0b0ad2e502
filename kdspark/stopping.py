"""Stopping by SIGTERM, as a scheduler does."""

import logging
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

STOPPED = 128 + signal.SIGTERM
"""Exit code of a process that was stopped so."""
_PATIENCE_S = 10.0


def stop(stopped: threading.Event) -> None:
    """End as after an error: what is half written is removed, the lease is given up.

    A thread that waits for the JVM must not leave it: what it asks next would wait for the same job, and take that
    one's answer. So running jobs are cancelled, which fails the thread that waits; without any, it ends here.
    """
    if stopped.is_set():
        return
    stopped.set()
    logging.getLogger("kdspark").warning("stopped by SIGTERM; run the same command again to go on")
    if "pyspark" not in sys.modules:
        sys.exit(STOPPED)
    from kdspark.spark.session import cancel_jobs

    with ThreadPoolExecutor(1) as pool:  # this thread's own way to the JVM may be taken
        if not pool.submit(cancel_jobs).result(_PATIENCE_S):
            sys.exit(STOPPED)
