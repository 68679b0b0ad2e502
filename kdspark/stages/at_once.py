"""Several small pieces of a stage's work at a time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def at_once(*work: Callable[[], _T]) -> list[_T]:
    """Results of several pieces of work, each of which leaves the cluster idle between small jobs."""
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(one) for one in work]]
