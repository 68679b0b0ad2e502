"""What a user had done before the history of a row begins: a window cuts it off, yet it is no item to recommend."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.spark.order import latest_first

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

EARLIER = "earlier"
_SEQUENCE = "sequence"


def with_earlier(
    rows: "DataFrame", events: "DataFrame", users: "DataFrame", history_length: int, kind: str
) -> "DataFrame":
    """Add `earlier` ARRAY<INT>, the items of a user's events by the row's position that its history does not hold.

    Only users with more events than a history has places are looked up; a list is no longer than what its user did.
    Histories may be padded further.

    Args:
        rows: of table "examples".
        events: (user_idx, item_idx, ts) of the scope.
        users: table "users" of the scope.
        history_length: places that a history has at least.
        kind: of the examples; the history of a "set" is the latest of all that the user did.

    Returns:
        `rows` with that column, null where there is nothing.
    """
    longer = users.filter(F.col(tables.N_EVENTS) > history_length).select(tables.USER_IDX)
    ordered = events.join(longer, tables.USER_IDX, "left_semi").withColumn("place", F.row_number().over(latest_first()))
    oldest_first = F.sort_array(F.collect_list(F.struct("place", tables.ITEM_IDX)), asc=False)
    sequences = ordered.groupBy(tables.USER_IDX).agg(
        F.transform(oldest_first, lambda pair: pair[tables.ITEM_IDX]).alias(_SEQUENCE)
    )
    by_then = F.size(_SEQUENCE) if kind == "set" else F.least(F.size(_SEQUENCE), F.col(tables.POSITION))
    cut_off = by_then - F.size(F.filter(tables.HISTORY, lambda item: item != tables.PAD))
    earlier = F.when(cut_off > 0, F.slice(_SEQUENCE, F.lit(1), cut_off)).alias(EARLIER)
    return rows.join(sequences, tables.USER_IDX, "left").select(*rows.columns, earlier)
