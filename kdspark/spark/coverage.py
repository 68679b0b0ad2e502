"""Catalogue coverage and concentration of recommendations, with intervals, in Spark.

Both are functions of how often each item is shown, not means over users, so their intervals come from a delete-a-group
jackknife (Kott, 2001): users fall into G groups by hash, the metric is computed without each group in turn, and
the standard error is sqrt((G - 1) / G * sum_g (metric_without_g - mean)^2), with Student's t on G - 1 degrees.

Legend: N items, G groups.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F
from scipy.stats import t as student_t

from kdspark import tables
from kdspark.ranking.beyond import coverage, gini
from kdspark.ranking.bootstrap import Interval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_GROUPS = 16
_PLACE = "place"
_GROUP = "user_group"
_METRICS: dict[str, Callable[[npt.NDArray[np.int64]], float]] = {"coverage": coverage, "gini": gini}


def coverage_metrics(
    ranked: "DataFrame", ks: Sequence[int], catalogue_N: npt.NDArray[np.bool_], confidence: float, seed: int
) -> dict[str, Interval]:
    """{"coverage@10": {value, low, high}, "gini@10": ...}.

    What reaches the driver is at most G * len(ks) counts per item, whatever the number of users.

    Args:
        ranked: rows of table "ranked".
        catalogue_N: the items that count, by item_idx; lists may name others, which are ignored.
        confidence: of the intervals, which are cut off at 0 and 1.
        seed: of the grouping of users.
    """
    exposure_KGN = _exposures(ranked, ks, catalogue_N, seed)
    found: dict[str, Interval] = {}
    for index, k in enumerate(ks):
        for name, metric in _METRICS.items():
            found[f"{name}@{k}"] = _jackknife(metric, exposure_KGN[index], confidence)
    return found


def _exposures(
    ranked: "DataFrame", ks: Sequence[int], catalogue_N: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.int64]:
    """Lists per cut-off, group of users and catalogue item [len(ks), G, items of the catalogue]."""
    group = F.pmod(F.xxhash64(F.col(tables.USER_IDX).cast("bigint"), F.lit(seed)), F.lit(_GROUPS))
    shown = ranked.select(group.alias(_GROUP), F.posexplode(tables.ITEMS).alias(_PLACE, tables.ITEM_IDX))
    counts = [F.sum(F.when(F.col(_PLACE) < k, 1).otherwise(0)).alias(str(k)) for k in ks]
    frame = shown.groupBy(tables.ITEM_IDX, _GROUP).agg(*counts).toPandas()
    exposure_KGN = np.zeros((len(ks), _GROUPS, len(catalogue_N)), np.int32)
    where = frame[_GROUP].to_numpy(np.int64), frame[tables.ITEM_IDX].to_numpy(np.int64)
    for index, k in enumerate(ks):
        exposure_KGN[index][where] = frame[str(k)].to_numpy(np.int32)
    return exposure_KGN[:, :, catalogue_N].astype(np.int64)


def _jackknife(
    metric: Callable[[npt.NDArray[np.int64]], float], exposure_GN: npt.NDArray[np.int64], confidence: float
) -> Interval:
    total_N = exposure_GN.sum(axis=0)
    value = metric(total_N)
    without_G = np.array([metric(total_N - group_N) for group_N in exposure_GN])
    groups = len(exposure_GN)
    error = np.sqrt((groups - 1) / groups * ((without_G - without_G.mean()) ** 2).sum())
    reach = float(student_t.ppf((1 + confidence) / 2, groups - 1) * error)
    return Interval(value=value, low=max(0.0, value - reach), high=min(1.0, value + reach))
