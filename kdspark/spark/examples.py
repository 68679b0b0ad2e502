"""Training positions: what a user had done before, and what came next. Arrays of fixed length, ready for a trainer."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.config import ExamplesConfig
from kdspark.spark.features import padded
from kdspark.spark.order import whole_users
from kdspark.spark.positions import Positions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def positions_of(config: ExamplesConfig) -> Positions:
    """The positions that a configuration asks for."""
    most = config.max_positions if config.kind == "next_item" else None
    return Positions(most, config.history_length, config.max_targets)


def sequences_of(histories: "DataFrame", users: "DataFrame", files: int) -> "DataFrame":
    """What the examples of a scope are made of: so many partitions of whole users, in order of user_idx.

    Users are shuffled and sorted before their positions are, which are many and wide.

    Args:
        histories: `read_histories` of the scope, `reach` of `positions_of` long.
        users: table "users" of the scope, for the user features.

    Returns:
        What `Positions.rows` takes.
    """
    features = users.select(tables.USER_IDX, tables.CODES, tables.NUMBERS, tables.VECTOR)
    known = histories.select(tables.USER_IDX, tables.N_EVENTS, tables.HISTORY)
    return whole_users(known.join(features, tables.USER_IDX), files).sortWithinPartitions(tables.USER_IDX)


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
