"""Numbers of users and items: those of the last published night go on, and erased users and sensitive items lose their
ids, not their numbers."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from kdspark import tables
from kdspark.spark.ids import extend_vocabulary
from kdspark.spark.io import read_table, uri
from kdspark.spark.withheld import Withheld

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType


def ids_table(id_name: str) -> str:
    """Name of the table of a vocabulary."""
    return "user_ids" if id_name == tables.USER_ID else "item_ids"


def vocabulary(
    spark: "SparkSession",
    frames: "list[DataFrame]",
    idx_name: str,
    id_name: str,
    previous: Path | None,
    scratch: Path,
    withheld: Withheld | None,
    id_types: "Mapping[str, DataType]",
) -> "DataFrame":
    """(idx_name, id_name) of all that there are, and were.

    Args:
        frames: whose column `id_name` has tonight's ids.
        previous: output of the last published night's stage prepare.
        scratch: folder for tonight's ids; must outlive the result.
        id_types: of the logs' ids, before pseudonyms.
    """
    name = ids_table(id_name)
    every = reduce(lambda a, b: a.unionByName(b), [frame.select(id_name) for frame in frames])
    every.distinct().write.parquet(uri(scratch / name))
    known = read_table(spark, previous / name) if previous else None
    if known is not None and withheld is not None:
        known = withheld.left(known, id_name, id_types[id_name])
    return extend_vocabulary(read_table(spark, scratch / name), known, idx_name, id_name)
