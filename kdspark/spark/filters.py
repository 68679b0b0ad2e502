"""Which clean events stay: duplicates, repeats, minimum weight, minimum counts and k-core."""

import logging
from itertools import count
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.config import FiltersConfig
from kdspark.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("kdspark")

_PLACE = "place"


def drops_rare(filters: FiltersConfig) -> bool:
    """Whether a minimum count is set."""
    return filters.min_user_events > 1 or filters.min_item_events > 1


def can_drop(filters: FiltersConfig) -> bool:
    """Whether a user's event on an item may be left out without another one that stays."""
    return filters.min_weight is not None or drops_rare(filters)


def heavy_enough(events: "DataFrame", filters: FiltersConfig) -> "DataFrame":
    """Events of at least `min_weight`."""
    return events if filters.min_weight is None else events.filter(F.col(tables.WEIGHT) >= filters.min_weight)


def deduplicate(events: "DataFrame", filters: FiltersConfig) -> "DataFrame":
    """Exact duplicates once (the largest weight stays); of a user's repeats on an item all, the first or the last.

    Args:
        events: ts, weight, and the columns that tell a user on an item from another: their ids or indices, and the
            split where that is given.
    """
    ts, weight = tables.TS, tables.WEIGHT
    keys = [name for name in events.columns if name not in (ts, weight)]
    if filters.repeats == "all":
        return events.groupBy(*keys, ts).agg(F.max(weight).alias(weight))
    # An aggregate of (ts, weight) pairs would sort as well, and once more for what is kept.
    time = F.desc_nulls_last(ts) if filters.repeats == "last" else F.asc_nulls_first(ts)
    place = F.row_number().over(Window.partitionBy(*keys).orderBy(time, F.desc(weight)))
    return events.withColumn(_PLACE, place).filter(F.col(_PLACE) == 1).drop(_PLACE)


def drop_rare(events: "DataFrame", filters: FiltersConfig) -> "DataFrame":
    """Leave out rare items, then rare users: once, or until nothing changes (k-core).

    Raises:
        InputError: nothing is left.
    """
    if not drops_rare(filters):
        return events
    before = None
    for round_ in count(1):  # every round but the last takes events away, so it ends
        # Cutting the lineage keeps the plan, and so the time per round, from growing with the rounds.
        events = _at_least(events, tables.ITEM_ID, filters.min_item_events)
        events = _at_least(events, tables.USER_ID, filters.min_user_events).localCheckpoint()
        left = events.count()
        if not filters.k_core or left in (0, before):
            break
        log.info("k-core         round %d: %s events", round_, f"{left:,}")
        before = left
    if left == 0:
        raise InputError(
            "No event is left after `data.filters` (minimum counts).", "Lower min_user_events or min_item_events."
        )
    return events


def _at_least(events: "DataFrame", key: str, least: int) -> "DataFrame":
    if least == 1:
        return events
    frequent = events.groupBy(key).count().filter(F.col("count") >= least).select(key)
    return events.join(frequent, key, "left_semi")
