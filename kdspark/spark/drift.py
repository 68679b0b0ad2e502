"""How a night's log and its scores are spread: binned counts that two nights can be compared by.

A bin holds the numbers of one binary length (1, 2-3, 4-7, …), so that bins are the same every night and few.
"""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Histograms = dict[str, dict[str, int]]
"""Name -> bin -> count; of a bin the largest number that belongs to it has so many binary digits."""
_SMALL = 10  # scores below 2^-10 are one bin


def histograms(
    interactions: "DataFrame", users: "DataFrame", items: "DataFrame", since: int | None, length: int
) -> tuple[Histograms, int | None]:
    """How the day's events and all users are spread.

    Args:
        interactions: table "interactions", of which the day's events are looked at.
        users, items: tables "users" and "items" of the scope "full".
        since: timestamp of the day's beginning; None where the log has no clock: all events are the day's.
        length: events that a history holds at most.

    Returns:
        `user_activity`, the day's users by their events of the day; `item_popularity`, the day's events by all events
        of their item; `history_length`, users by the length of their history. And the number of the day's events, None
        without a clock.
    """
    n, n_events = F.col("n"), F.col(tables.N_EVENTS)
    known = users.filter(n_events > 0)
    lengths = _counted(known.select(_bin(F.least(n_events, F.lit(length))), F.lit(1).alias("n")))
    if since is None:
        activity = _counted(known.select(_bin(n_events), F.lit(1).alias("n")))
        popularity = _counted(items.filter(n_events > 0).select(_bin(n_events), n_events.alias("n")))
        return {"user_activity": activity, "item_popularity": popularity, "history_length": lengths}, None
    day = interactions.filter(F.col(tables.TS) >= since).select(tables.USER_IDX, tables.ITEM_IDX).persist()
    try:
        by_user = day.groupBy(tables.USER_IDX).agg(F.count("*").alias("n"))
        activity = _counted(by_user.select(_bin(n), F.lit(1).alias("n")))
        by_item = day.groupBy(tables.ITEM_IDX).agg(F.count("*").alias("n"))
        popularity = _counted(by_item.join(items, tables.ITEM_IDX).select(_bin(n_events), n))
    finally:
        day.unpersist()
    found = {"user_activity": activity, "item_popularity": popularity, "history_length": lengths}
    return found, sum(popularity.values())


def score_histogram(rows: "DataFrame") -> dict[str, int]:
    """How the scores are spread that a model gave to what is in the lists.

    Args:
        rows: table "recommendations", whose scores are finite.

    Returns:
        Bin -> rows: 0 for scores s of |s| < 2^-10, else n of the sign of s, with 2^(|n| - 11) <= |s| < 2^(|n| - 10), up
        to rounding. Users whom the model does not know have no score of it.
    """
    score = F.col(tables.SCORE).cast("double")
    size = F.greatest(F.floor(F.log2(F.abs(score))) + _SMALL + 1, F.lit(0))  # of a zero the logarithm is null: 0
    known = rows.filter(F.col(tables.REASON) != tables.REASON_COLD_START)
    return _counted(known.select((F.signum(score) * size).cast("int").alias("bin"), F.lit(1).alias("n")))


def _bin(value: "Column") -> "Column":
    """Binary digits of a number above 0: exact at powers of two, which a logarithm is not."""
    return F.length(F.bin(value.cast("bigint"))).alias("bin")


def _counted(rows: "DataFrame") -> dict[str, int]:
    """(bin, n) -> sums by bin, in order."""
    found = rows.groupBy("bin").agg(F.sum("n").alias("n")).collect()
    return {str(row["bin"]): int(row["n"]) for row in sorted(found, key=lambda row: row["bin"])}
