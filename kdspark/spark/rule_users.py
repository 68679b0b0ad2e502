"""What rules say of single users, in rows of numbers."""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SEGMENT, DENIED, GRANTED = range(3)
"""Kinds of rows."""
UNKNOWN = -1
"""Stands for an item that is granted, and that the night does not know: the user has a list all the same."""


def user_rules(
    segments: "DataFrame | None",
    names: Sequence[str],
    denied: "Sequence[DataFrame]",
    granted: "DataFrame | None",
    user_ids: "DataFrame",
    item_ids: "DataFrame",
) -> "DataFrame | None":
    """(user_idx, rule, rule_value), any number of rows per user; None where no table is by user.

    The value is a place in `names` of a segment, or the item_idx of an item that is denied or granted.

    Args:
        segments: (user_id, segment), others than those in `names` being of no interest.
        denied, granted: (user_id, item_id), as `read_rule` gives them.
        user_ids, item_ids: the tables of this name.
    """
    frames, named = [], [(frame, DENIED) for frame in denied] + ([(granted, GRANTED)] if granted is not None else [])
    if named:  # one join for all
        listed = [frame.select(tables.USER_ID, F.lit(rule).alias(tables.RULE), tables.ITEM_ID) for frame, rule in named]
        found = reduce(lambda one, other: one.union(other), listed).join(item_ids, tables.ITEM_ID, "left")
        item = F.coalesce(tables.ITEM_IDX, F.when(F.col(tables.RULE) == GRANTED, UNKNOWN))
        frames.append(found.filter(item.isNotNull()).select(tables.USER_ID, tables.RULE, item))
    if segments is not None and names:
        places = F.create_map(*(F.lit(part) for place, name in enumerate(names) for part in (name, place)))
        place = places[F.col("segment")].cast("int")
        wanted = segments.filter(F.col("segment").isin(*names))
        frames.append(wanted.select(tables.USER_ID, F.lit(SEGMENT), place))
    if not frames:
        return None
    rows = reduce(lambda one, other: one.union(other), frames).toDF(tables.USER_ID, tables.RULE, tables.RULE_VALUE)
    return rows.join(user_ids, tables.USER_ID).select(tables.USER_IDX, tables.RULE, tables.RULE_VALUE)
