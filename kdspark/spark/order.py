"""The one order of a user's events: by time, and where times are equal by a hash of (user, item).

Clocks of a second are coarse: whole pages of a user's events can share one. An order that is the same for every user
(by item, say) would let a model learn the tie-break itself, "of two tied items the larger comes next", and so find
held-out events by an accident of their numbers. A hash of the pair is as repeatable and teaches nothing.
"""

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from kdspark import tables

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, WindowSpec


def latest_first() -> "WindowSpec":
    """A user's events from the latest to the oldest; events without a time come last."""
    return Window.partitionBy(tables.USER_IDX).orderBy(*_order())


def by_user(events: "DataFrame") -> "DataFrame":
    """Within each partition one user after the other, each one's latest events first."""
    return events.sortWithinPartitions(tables.USER_IDX, *_order())


def whole_users(frame: "DataFrame", partitions: int) -> "DataFrame":
    """So many partitions, each with all rows of its users.

    By a hash of its own: where a join before it has partitioned by the index into as many, Spark would take that for
    what is asked, and then change how many there are.
    """
    return frame.repartition(partitions, F.xxhash64(tables.USER_IDX))


def _order() -> "list[Column | str]":
    tie = F.xxhash64(tables.USER_IDX, tables.ITEM_IDX)
    return [F.desc_nulls_last(tables.TS), tie, tables.ITEM_IDX]
