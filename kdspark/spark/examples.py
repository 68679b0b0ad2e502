"""Training positions: what a user had done before, and what came next. Arrays of fixed length, ready for a trainer."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.config import ExamplesConfig
from kdspark.spark.features import padded
from kdspark.spark.order import latest_first

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_SEQUENCE, _COUNT, _FIRST = "sequence", "n", "first"


def build_examples(events: "DataFrame", users: "DataFrame", config: ExamplesConfig) -> "DataFrame":
    """Table "examples" of a scope.

    Only as many of a user's latest events are gathered as its positions and their histories need, so that no user
    costs more than another.

    Args:
        events: (user_idx, item_idx, ts) of the scope.
        users: table "users" of the scope, for the user features.
        config: kind, lengths and caps.
    """
    reach = config.history_length + (config.max_positions if config.kind == "next_item" else config.max_targets)
    sequences = _sequences(events, reach)
    positions = _next_item(sequences, config) if config.kind == "next_item" else _set(sequences, config)
    features = users.select(tables.USER_IDX, tables.CODES, tables.NUMBERS, tables.VECTOR)
    return positions.join(features, tables.USER_IDX).select(*tables.columns("examples"))


def scoring_inputs(users: "DataFrame", max_targets: int, copies: int) -> "DataFrame":
    """What scoring will see, as rows of table "examples" without targets; users without a history have none.

    Args:
        users: table "users" of the scope; the rows have its histories.
        max_targets: of the examples they join.
        copies: rows per user; each has a position of its own, beyond the user's last event.
    """
    copy = F.explode(F.sequence(F.lit(0), F.lit(copies - 1))).alias("copy")
    rows = users.filter(F.exists(tables.HISTORY, lambda item: item != tables.PAD)).select("*", copy)
    return rows.select(
        tables.USER_IDX,
        (F.col(tables.N_EVENTS) + F.col("copy")).cast("int").alias(tables.POSITION),
        tables.HISTORY,
        F.array_repeat(F.lit(tables.PAD), max_targets).alias(tables.TARGETS),
        tables.CODES,
        tables.NUMBERS,
        tables.VECTOR,
    )


def widened(rows: "DataFrame", history_length: int) -> "DataFrame":
    """Rows of table "examples" with histories padded to so many places."""
    return rows.withColumn(tables.HISTORY, padded(F.col(tables.HISTORY), history_length))


def _sequences(events: "DataFrame", reach: int) -> "DataFrame":
    """(user_idx, sequence, n, first): the latest `reach` items, oldest first; n events in all, `first` of them cut."""
    recent = F.when(F.col("place") <= reach, F.struct("place", tables.ITEM_IDX))
    grouped = (
        events.withColumn("place", F.row_number().over(latest_first()))
        .groupBy(tables.USER_IDX)
        .agg(F.count("*").cast("int").alias(_COUNT), F.sort_array(F.collect_list(recent), asc=False).alias("recent"))
    )
    items = F.transform("recent", lambda pair: pair[tables.ITEM_IDX])
    return grouped.select(
        tables.USER_IDX, items.alias(_SEQUENCE), _COUNT, (F.col(_COUNT) - F.size("recent")).alias(_FIRST)
    )


def _next_item(sequences: "DataFrame", config: ExamplesConfig) -> "DataFrame":
    """One row per position p >= 1, the latest `max_positions`: items before p -> the next `max_targets` from p on."""
    start = F.greatest(F.lit(1), F.col(_COUNT) - config.max_positions)
    positions = F.explode(F.sequence(start, F.col(_COUNT) - 1)).alias(tables.POSITION)
    rows = sequences.filter(F.col(_COUNT) >= 2).select("*", positions)
    place = F.col(tables.POSITION) - F.col(_FIRST)  # 0-based, within the part that was kept
    length = F.least(place, F.lit(config.history_length))
    history = F.slice(_SEQUENCE, place - length + 1, length)
    targets = F.slice(_SEQUENCE, place + 1, F.lit(config.max_targets))
    return rows.select(
        tables.USER_IDX,
        tables.POSITION,
        padded(history, config.history_length).alias(tables.HISTORY),
        _padded_right(targets, config.max_targets).alias(tables.TARGETS),
    )


def _set(sequences: "DataFrame", config: ExamplesConfig) -> "DataFrame":
    """One row per user: the latest items are both what is known and what is to be found."""
    history = F.slice(_SEQUENCE, _from_end(config.history_length), F.lit(config.history_length))
    targets = F.slice(_SEQUENCE, _from_end(config.max_targets), F.lit(config.max_targets))
    return sequences.select(
        tables.USER_IDX,
        F.lit(0).alias(tables.POSITION),
        padded(history, config.history_length).alias(tables.HISTORY),
        _padded_right(targets, config.max_targets).alias(tables.TARGETS),
    )


def _from_end(length: int) -> "Column":
    return F.greatest(F.lit(1), F.size(_SEQUENCE) - length + 1)


def _padded_right(items: "Column", length: int) -> "Column":
    return F.concat(items, F.array_repeat(F.lit(tables.PAD), F.lit(length) - F.size(items)))
