"""Feature tables of users and items for one scope: counts, recency, age, popularity, history, and side features.

One shuffle per side. A user's history is cut to its latest items inside the aggregation, so that a user with most of
the log's events costs no more memory than any other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.spark.numbers import Scale, scale_of
from kdspark.spark.order import latest_first

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


def build_users(events: "DataFrame", static: "DataFrame", history_length: int, clock: Clock) -> "DataFrame":
    """Table "users" of a scope.

    Args:
        events: (user_idx, item_idx, ts) of the scope.
        static: (user_idx, user_id, codes, numbers, vector) of the whole vocabulary.
        history_length: L; histories are the last L items, oldest first, padded on the left.
    """
    place = F.row_number().over(latest_first())
    recent = F.when(F.col("place") <= history_length, F.struct("place", tables.ITEM_IDX))
    grouped = (
        events.withColumn("place", place)
        .groupBy(tables.USER_IDX)
        .agg(*_counts(), F.sort_array(F.collect_list(recent), asc=False).alias("recent"))
    )
    items = F.transform("recent", lambda pair: pair[tables.ITEM_IDX])
    grouped = grouped.withColumn(tables.HISTORY, padded(items, history_length)).drop("recent")
    nothing = F.array_repeat(F.lit(tables.PAD), history_length)
    return static.join(grouped, tables.USER_IDX, "left").select(
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


def item_counts(events: "DataFrame") -> "DataFrame":
    """(item_idx, n_events, first_ts, last_ts)."""
    return events.groupBy(tables.ITEM_IDX).agg(*_counts())


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


def _counts() -> list["Column"]:
    return [
        F.count("*").cast("int").alias(tables.N_EVENTS),
        F.min(tables.TS).alias(tables.FIRST_TS),
        F.max(tables.TS).alias(tables.LAST_TS),
    ]
