"""Training positions: what a user had done before, and what came next. Arrays of fixed length, ready for a trainer."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.config import ExamplesConfig
from kdspark.spark.features import padded
from kdspark.spark.order import whole_users

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_SEQUENCE, _COUNT, _FIRST = "sequence", "n", "first"
_FEATURES = (tables.CODES, tables.NUMBERS, tables.VECTOR)


def reach_of(config: ExamplesConfig) -> int:
    """How many of a user's latest items its examples are made of, at most, so that no user costs more than another."""
    return config.history_length + (config.max_positions if config.kind == "next_item" else config.max_targets)


def build_examples(histories: "DataFrame", users: "DataFrame", config: ExamplesConfig, files: int) -> "DataFrame":
    """Table "examples" of a scope: partitions of whole users, in order of user_idx and position.

    Users are shuffled and sorted before their positions are, which are many and wide.

    Args:
        histories: `read_histories` of the scope, `reach_of(config)` long.
        users: table "users" of the scope, for the user features.
        config: kind, lengths and caps.
        files: number of partitions.
    """
    features = users.select(tables.USER_IDX, *_FEATURES)
    joined = _sequences(histories).join(features, tables.USER_IDX)
    sequences = whole_users(joined, files).sortWithinPartitions(tables.USER_IDX)
    return _next_item(sequences, config) if config.kind == "next_item" else _set(sequences, config)


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


def _sequences(histories: "DataFrame") -> "DataFrame":
    """(user_idx, sequence, n, first): the latest items, oldest first; n events in all, `first` of them cut."""
    reach = F.size(tables.HISTORY)
    there = F.least(F.col(tables.N_EVENTS), reach)
    items = F.slice(tables.HISTORY, reach - there + 1, there)
    return histories.select(
        tables.USER_IDX,
        items.alias(_SEQUENCE),
        F.col(tables.N_EVENTS).alias(_COUNT),
        (F.col(tables.N_EVENTS) - there).alias(_FIRST),
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
        *_FEATURES,
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
        *_FEATURES,
    )


def _from_end(length: int) -> "Column":
    return F.greatest(F.lit(1), F.size(_SEQUENCE) - length + 1)


def _padded_right(items: "Column", length: int) -> "Column":
    return F.concat(items, F.array_repeat(F.lit(tables.PAD), F.lit(length) - F.size(items)))
