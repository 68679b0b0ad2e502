"""What rules say of single users, in one row each."""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_KIND, _VALUE = "kind", "value"
_KINDS = (tables.SEGMENTS, tables.DENIED, tables.GRANTED)


def user_rules(
    segments: "DataFrame | None",
    names: Sequence[str],
    denied: "Sequence[DataFrame]",
    granted: "DataFrame | None",
    user_ids: "DataFrame",
    item_ids: "DataFrame",
) -> "DataFrame | None":
    """(user_idx, segments ARRAY<INT>, denied ARRAY<INT>, granted ARRAY<INT>); None where no table is by user.

    `segments` are places in `names`, others being of no interest; `denied` and `granted` are item_idx, and `granted` is
    null where a user has no such list, and empty where none of its items is known.

    Args:
        segments: (user_id, segment), and `denied`, `granted`: (user_id, item_id), as `read_rule` gives them.
        user_ids, item_ids: the tables of this name.
    """
    lists = [(1, frame) for frame in denied] + ([(2, granted)] if granted is not None else [])
    frames = [
        frame.join(item_ids, tables.ITEM_ID, "left").select(tables.USER_ID, F.lit(kind), tables.ITEM_IDX)
        for kind, frame in lists
    ]
    if segments is not None:
        places = F.create_map(*(F.lit(part) for place, name in enumerate(names) for part in (name, place)))
        place = places[F.col("segment")] if names else F.lit(None)
        frames.append(segments.select(tables.USER_ID, F.lit(0), place.cast("int")))
    if not frames:
        return None
    rows = reduce(lambda one, other: one.union(other), frames).toDF(tables.USER_ID, _KIND, _VALUE)
    sets = [F.collect_set(F.when(F.col(_KIND) == kind, F.col(_VALUE))) for kind in range(len(_KINDS))]
    has_list = F.max(F.col(_KIND)) == _KINDS.index(tables.GRANTED)
    sets[-1] = F.when(has_list, sets[-1])
    named = [found.alias(name) for name, found in zip(_KINDS, sets, strict=True)]
    return rows.join(user_ids, tables.USER_ID).groupBy(tables.USER_IDX).agg(*named)
