"""Spark MLlib's implicit ALS, brought into the common form: user and item factors as a recommender.

The factors go from the executors to Parquet and from there, in batches, into arrays; nothing is collected.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds
from pyspark.ml.recommendation import ALS
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.arrow import fixed_lists
from kdspark.config import ALSConfig
from kdspark.spark.io import uri

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_STRENGTH = "strength"


def fit_als(
    events: "DataFrame", config: ALSConfig, n_users: int, n_items: int, seed: int, scratch: Path
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fit implicit ALS on (user, item) counts.

    Args:
        events: training events with user_idx and item_idx.
        n_users, n_items: rows of the results.
        scratch: folder for the factor tables.

    Returns:
        users [n_users, rank] and items [n_items, rank], float32; zeros for those without an event.
    """
    counts = events.groupBy(tables.USER_IDX, tables.ITEM_IDX).agg(F.count("*").cast("float").alias(_STRENGTH))
    # ALS deals blocks by partition; a fixed layout makes its result independent of the session's settings.
    counts = counts.repartition(8, tables.USER_IDX).sortWithinPartitions(tables.USER_IDX, tables.ITEM_IDX)
    model = ALS(
        rank=config.rank,
        maxIter=config.iterations,
        regParam=config.reg,
        alpha=config.alpha,
        implicitPrefs=True,
        userCol=tables.USER_IDX,
        itemCol=tables.ITEM_IDX,
        ratingCol=_STRENGTH,
        seed=seed,
    ).fit(counts)
    model.userFactors.write.parquet(uri(scratch / "user_factors"))
    model.itemFactors.write.parquet(uri(scratch / "item_factors"))
    users = _read_factors(scratch / "user_factors", n_users, config.rank)
    return users, _read_factors(scratch / "item_factors", n_items, config.rank)


def _read_factors(folder: Path, rows: int, rank: int) -> npt.NDArray[np.float32]:
    factors = np.zeros((rows, rank), np.float32)
    for batch in ds.dataset(folder, format="parquet").to_batches(columns=["id", "features"]):
        if batch.num_rows:
            factors[np.asarray(batch.column("id"), np.int64)] = fixed_lists(batch, "features", np.float32)
    return factors
