"""What a user had done before the history of a row begins: a window cuts it off, yet it is no item to recommend."""

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.spark.order import latest_first

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

EARLIER = "earlier"
_SEQUENCE = "sequence"
_PLACE = "place"  # from the latest event, 1, back
_DONE = "done"


def with_earlier(
    rows: "DataFrame",
    events: "DataFrame",
    users: "DataFrame",
    history_length: int,
    kind: str,
    latest: int | None = None,
) -> "DataFrame":
    """Add `earlier` ARRAY<INT>, the items of a user's events by the row's position that its history does not hold.

    Only users with more events than a history has places are looked up; a list is no longer than what its user did,
    and, with `latest`, not much longer than the catalogue. Histories may be padded further.

    Args:
        rows: of table "examples".
        events: (user_idx, item_idx, ts) of the scope.
        users: table "users" of the scope.
        history_length: places that a history has at least.
        kind: of the examples; the history of a "set" is the latest of all that the user did.
        latest: where users may have several events on an item: of those before the latest so many, the first one on an
            item stands for all. None: they have none.

    Returns:
        `rows` with that column, null where there is nothing.
    """
    longer = users.filter(F.col(tables.N_EVENTS) > history_length).select(tables.USER_IDX)
    ordered = events.join(longer, tables.USER_IDX, "left_semi").withColumn(_PLACE, F.row_number().over(latest_first()))
    if latest is not None:
        first = F.max(_PLACE).over(Window.partitionBy(tables.USER_IDX, tables.ITEM_IDX))
        ordered = ordered.withColumn("first", first).filter(
            (F.col(_PLACE) <= latest) | (F.col(_PLACE) == F.col("first"))
        )
    oldest_first = F.sort_array(F.collect_list(F.struct(_PLACE, tables.ITEM_IDX)), asc=False)
    # the oldest event is the first one on its item: its place is how many there are
    sequences = ordered.groupBy(tables.USER_IDX).agg(oldest_first.alias(_SEQUENCE), F.max(_PLACE).alias(_DONE))
    by_then = F.col(_DONE) if kind == "set" else F.least(_DONE, tables.POSITION)
    cut_off = by_then - F.size(F.filter(tables.HISTORY, lambda item: item != tables.PAD))
    before = (
        F.slice(_SEQUENCE, F.lit(1), cut_off)
        if latest is None
        else F.filter(_SEQUENCE, lambda pair: pair[_PLACE] > F.col(_DONE) - cut_off)
    )
    earlier = F.when(cut_off > 0, F.transform(before, lambda pair: pair[tables.ITEM_IDX])).alias(EARLIER)
    return rows.join(sequences, tables.USER_IDX, "left").select(*rows.columns, earlier)
