"""Executors register one after the other once a session has started; a job asks those alone that are there by then."""

import logging
import time
from typing import TYPE_CHECKING

from kdspark.errors import StageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DEADLINE_S = 60.0
_QUIET_S = 10.0  # without a new one, where nobody has said how many there will be
_POLL_S = 0.2
log = logging.getLogger("kdspark")


def wait_for_executors(session: "SparkSession") -> int:
    """Wait until all have registered, or no more do.

    All are as many as `spark.executor.instances` says. Where Spark adds and removes executors by the work there is
    (`spark.dynamicAllocation.enabled`), and in local mode, nothing is waited for.

    Returns:
        How many are expected; 0 where nobody knows.

    Raises:
        StageError: none has registered within a minute. A job would wait for ever.
    """
    conf = dict(session.sparkContext.getConf().getAll())
    dynamic = conf.get("spark.dynamicAllocation.enabled", "false").lower() == "true"
    if dynamic or conf["spark.master"].startswith("local"):
        return 0
    expected = int(conf.get("spark.executor.instances", "0"))
    log.info("%-14s waiting for the cluster's executors", "doctor")
    started = changed = time.monotonic()
    there = _registered(session)
    while (now := time.monotonic()) < started + _DEADLINE_S and not _all(there, expected, now - changed):
        time.sleep(_POLL_S)
        before, there = there, _registered(session)
        changed = changed if there == before else time.monotonic()
    if not there:
        raise StageError(
            f"No executor has registered within {_DEADLINE_S:.0f} s.",
            "Look at the cluster manager for free cores and memory: spark.executor.cores, spark.executor.memory.",
        )
    return expected


def _all(there: int, expected: int, quiet_s: float) -> bool:
    return there >= expected if expected else there > 0 and quiet_s >= _QUIET_S


def _registered(session: "SparkSession") -> int:
    return int(session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1  # one is the driver
