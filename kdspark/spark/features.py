"""Feature tables of users and items for one scope: counts, recency, age, popularity, history, and side features.

The users' part comes from `histories`, the items' is counted once for all scopes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.spark.numbers import Scale, scale_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_DAY_US = 86_400 * 1_000_000


@dataclass(frozen=True)
class Clock:
    """How `ts` relates to days.

    Attributes:
        end_us: end of the night in microseconds, or None for a log without a clock.
    """

    end_us: int | None

    def days_until_end(self, ts: "Column") -> "Column":
        """Days from a timestamp to the night's end; null without a timestamp or a clock: 0 would mean "just now"."""
        if self.end_us is None:
            return F.lit(None).cast("double")
        return (F.lit(self.end_us) - ts) / float(_DAY_US)


@dataclass(frozen=True)
class Behaviour:
    """Scales of the items' behavioural numbers, fitted on train: log(1 + events) and age in days."""

    log_events: Scale
    age: Scale


def build_users(histories: "DataFrame", static: "DataFrame", history_length: int, clock: Clock) -> "DataFrame":
    """Table "users" of a scope.

    Args:
        histories: `read_histories` of the scope, with histories of `history_length`.
        static: (user_idx, user_id, codes, numbers, vector) of the whole vocabulary.
    """
    nothing = F.array_repeat(F.lit(tables.PAD), history_length)
    return static.join(histories, tables.USER_IDX, "left").select(
        tables.USER_IDX,
        tables.USER_ID,
        F.coalesce(tables.N_EVENTS, F.lit(0)).alias(tables.N_EVENTS),
        tables.FIRST_TS,
        tables.LAST_TS,
        clock.days_until_end(F.col(tables.LAST_TS)).alias(tables.RECENCY_DAYS),
        F.coalesce(tables.HISTORY, nothing).alias(tables.HISTORY),
        tables.CODES,
        tables.NUMBERS,
        tables.VECTOR,
    )


def count_items(interactions: "DataFrame") -> "DataFrame":
    """(item_idx, split, n_events, first_ts, last_ts): small, and all that is counted of items comes from it."""
    return interactions.groupBy(tables.ITEM_IDX, tables.SPLIT).agg(
        F.count("*").alias(tables.N_EVENTS),
        F.min(tables.TS).alias(tables.FIRST_TS),
        F.max(tables.TS).alias(tables.LAST_TS),
    )


def item_counts(counted: "DataFrame", splits: Iterable[str]) -> "DataFrame":
    """(item_idx, n_events, first_ts, last_ts) of the items with events in these splits, from `count_items`."""
    n_events = F.sum(tables.N_EVENTS).cast("int").alias(tables.N_EVENTS)
    first, last = F.min(tables.FIRST_TS).alias(tables.FIRST_TS), F.max(tables.LAST_TS).alias(tables.LAST_TS)
    wanted = counted.filter(F.col(tables.SPLIT).isin(list(splits)))
    return wanted.groupBy(tables.ITEM_IDX).agg(n_events, first, last)


def without_rare(counts: "DataFrame", interactions: "DataFrame", splits: Iterable[str], least: int) -> "DataFrame":
    """`item_counts`, in which items that fewer than `least` users chose in these splits were chosen once, at no time:
    what is told of them would be told of these users."""
    wanted = interactions.filter(F.col(tables.SPLIT).isin(list(splits)))
    users = wanted.groupBy(tables.ITEM_IDX).agg(F.countDistinct(tables.USER_IDX).alias("n_users"))
    rare = F.col("n_users") < least
    return counts.join(users, tables.ITEM_IDX).select(
        tables.ITEM_IDX,
        F.when(rare, 1).otherwise(F.col(tables.N_EVENTS)).cast("int").alias(tables.N_EVENTS),
        F.when(~rare, F.col(tables.FIRST_TS)).alias(tables.FIRST_TS),
        F.when(~rare, F.col(tables.LAST_TS)).alias(tables.LAST_TS),
    )


def fit_behaviour(counts: "DataFrame", clock: Clock) -> Behaviour:
    """Scales of the items' behaviour, from `item_counts` of the train events."""
    logs, age = F.log1p(tables.N_EVENTS), clock.days_until_end(F.col(tables.FIRST_TS))
    row = counts.agg(F.avg(logs), F.stddev_pop(logs), F.avg(age), F.stddev_pop(age)).first()
    assert row is not None
    return Behaviour(scale_of(row[0], row[1]), scale_of(row[2], row[3]))


def build_items(
    counts: "DataFrame", static: "DataFrame", total_events: int, behaviour: Behaviour, clock: Clock
) -> "DataFrame":
    """Table "items" of a scope; `numbers` are the side table's, then scaled log(1 + events) and age.

    An item without an age gets that of the mean, 0 when scaled; that it has no events tells it apart.

    Args:
        counts: `item_counts` of the scope's events.
        static: (item_idx, item_id, codes, numbers, vector) of the whole vocabulary.
        total_events: events of the scope, for `popularity`, an item's share of them.
    """
    n_events = F.coalesce(tables.N_EVENTS, F.lit(0))
    age = clock.days_until_end(F.col(tables.FIRST_TS))
    logs = (F.log1p(n_events) - behaviour.log_events.mean) / behaviour.log_events.deviation
    aged = (age - behaviour.age.mean) / behaviour.age.deviation
    behavioural = F.array(logs, F.coalesce(aged, F.lit(0.0))).cast("array<float>")
    return static.join(counts, tables.ITEM_IDX, "left").select(
        tables.ITEM_IDX,
        tables.ITEM_ID,
        n_events.alias(tables.N_EVENTS),
        tables.FIRST_TS,
        tables.LAST_TS,
        clock.days_until_end(F.col(tables.LAST_TS)).alias(tables.RECENCY_DAYS),
        age.alias(tables.AGE_DAYS),
        (n_events / float(max(total_events, 1))).alias(tables.POPULARITY),
        tables.CODES,
        F.concat(tables.NUMBERS, behavioural).alias(tables.NUMBERS),
        tables.VECTOR,
    )


def padded(items: "Column", length: int) -> "Column":
    """An array of at most `length` items, padded on the left with PAD."""
    return F.concat(F.array_repeat(F.lit(tables.PAD), F.lit(length) - F.size(items)), items)
