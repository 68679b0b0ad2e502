"""The growing vocabulary: external ids of any type <-> dense int32 indices that never change."""

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from kdspark.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_BUCKETS = 64
_MOST = 2**31 - 1


def extend_vocabulary(ids: "DataFrame", previous: "DataFrame | None", idx_name: str, id_name: str) -> "DataFrame":
    """Number new ids after the known ones.

    New ids are ordered by (hash bucket, id), so their numbers depend on the set of ids alone, not on partitions;
    buckets are numbered in parallel and shifted by the sizes of those before.

    Args:
        ids: one column `id_name`, which is read twice; duplicates are fine.
        previous: (idx_name, id_name) of an earlier night, or None.

    Returns:
        (idx_name INT, id_name) for all known and new ids, indices 0, 1, 2, … without gaps.

    Raises:
        InputError: the type of the ids has changed, or they no longer fit into int32.
    """
    fresh = ids.select(id_name).distinct()
    start = 0
    if previous is not None:
        was, now = previous.schema[id_name].dataType, ids.schema[id_name].dataType
        if was != now:
            raise InputError(
                f"{id_name} is {now.simpleString()} tonight, it was {was.simpleString()} before.",
                "Export the ids with their old type, or start a new --root.",
            )
        fresh = fresh.join(previous, id_name, "left_anti")
        start = previous.count()
    bucketed = fresh.withColumn("bucket", F.pmod(F.xxhash64(id_name), F.lit(_BUCKETS)).cast("int"))
    sizes = {row["bucket"]: int(row["count"]) for row in bucketed.groupBy("bucket").count().collect()}
    if start + sum(sizes.values()) > _MOST:
        raise InputError(f"More than {_MOST:,} different {id_name}s.", "Split the log over several roots.")
    offsets, total = [], start
    for bucket in range(_BUCKETS):
        offsets.append(total)
        total += sizes.get(bucket, 0)
    offset = F.array(*[F.lit(value) for value in offsets])[F.col("bucket")]
    within = F.row_number().over(Window.partitionBy("bucket").orderBy(id_name)) - 1
    numbered = bucketed.select((offset + within).cast("int").alias(idx_name), id_name)
    return numbered if previous is None else previous.select(idx_name, id_name).unionByName(numbered)


def vocabulary_digest(vocabulary: "DataFrame", idx_name: str, id_name: str, size: int) -> str:
    """A digest of which ids the indices below `size` stand for; the same however the vocabulary grows after them."""
    hashed = F.xxhash64(F.col(idx_name), F.col(id_name).cast("string")).cast("decimal(38,0)")
    row = vocabulary.filter(F.col(idx_name) < size).agg(F.count("*"), F.sum(hashed)).first()
    assert row is not None
    return f"{row[0]}:{row[1] or 0}"
