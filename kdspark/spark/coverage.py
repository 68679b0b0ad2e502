"""Catalogue coverage and concentration of recommendations, with intervals, in Spark.

Both are functions of how often each item is shown, not means over users, so their intervals come from a delete-a-group
jackknife (Kott, 2001): users fall into G groups by hash, the metric is computed without each group in turn, and
the standard error is sqrt((G - 1) / G * sum_g (metric_without_g - mean)^2), with Student's t on G - 1 degrees.

Neither depends on which item is shown how often, only on how many are shown 0, 1, 2, ... times. These histograms, one
for all users and one without each group, are made in Spark, and are all that reaches the driver.

Legend: N items of the catalogue, G groups, K cut-offs.
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
    from pyspark.sql import Column, DataFrame

_GROUPS = 16
_NOBODY = -1
_PLACE, _GROUP, _LISTS = "place", "user_group", "lists"
_CUT, _WITHOUT, _TIMES, _ITEMS = "cut", "without", "times", "items"
_METRICS: dict[str, Callable[[npt.NDArray[np.int64]], float]] = {"coverage": coverage, "gini": gini}


def coverage_metrics(
    ranked: "DataFrame", ks: Sequence[int], catalogue: "DataFrame", confidence: float, seed: int
) -> dict[str, Interval]:
    """{"coverage@10": {value, low, high}, "gini@10": ...}.

    What reaches the driver is at most (G + 1) * K rows per number of times that some item is shown; of such numbers
    there are far fewer than items, and at most the root of twice their sum.

    Args:
        ranked: rows of table "ranked".
        catalogue: (item_idx) of the items that count; lists may name others, which are ignored.
        confidence: of the intervals, which are cut off at 0 and 1.
        seed: of the grouping of users.
    """
    size = catalogue.count()
    frame = _histograms(ranked, ks, catalogue, seed).toPandas()
    histograms = dict(iter(frame.groupby([_CUT, _WITHOUT])))

    def exposures(cut: int, without: int) -> npt.NDArray[np.int64]:
        part = histograms.get((cut, without), frame[:0])
        times = np.repeat(part[_TIMES].to_numpy(np.int64), part[_ITEMS].to_numpy(np.int64))
        return np.concatenate([np.zeros(size - len(times), np.int64), times])

    found: dict[str, Interval] = {}
    for cut, k in enumerate(ks):
        for name, metric in _METRICS.items():
            without_G = np.array([metric(exposures(cut, group)) for group in range(_GROUPS)])
            found[f"{name}@{k}"] = _jackknife(metric(exposures(cut, _NOBODY)), without_G, confidence)
    return found


def _histograms(ranked: "DataFrame", ks: Sequence[int], catalogue: "DataFrame", seed: int) -> "DataFrame":
    """(cut, without, times, items): how many items are in `times` lists, cut off at ks[cut], of all users but those of
    group `without`; the items of no list at all are left out."""
    group = F.pmod(F.xxhash64(F.col(tables.USER_IDX).cast("bigint"), F.lit(seed)), F.lit(_GROUPS))
    shown = ranked.select(group.alias(_GROUP), F.posexplode(tables.ITEMS).alias(_PLACE, tables.ITEM_IDX))
    lists_K = F.array(*[F.sum(F.when(F.col(_PLACE) < k, 1).otherwise(0)) for k in ks])
    per_group = shown.groupBy(tables.ITEM_IDX, _GROUP).agg(lists_K.alias(_LISTS))
    by_group = F.map_from_entries(F.collect_list(F.struct(_GROUP, _LISTS))).alias(_GROUP)
    totals_K = F.array(*[F.sum(F.col(_LISTS)[cut]) for cut in range(len(ks))]).alias(_LISTS)
    items = per_group.groupBy(tables.ITEM_IDX).agg(by_group, totals_K)
    items = items.join(catalogue, tables.ITEM_IDX, "left_semi")

    def of_group(group: int) -> "Column":
        return F.try_element_at(_GROUP, F.lit(group).cast("bigint"))

    times = [
        F.struct(
            F.lit(cut).alias(_CUT),
            F.lit(without).alias(_WITHOUT),
            (F.col(_LISTS)[cut] - F.coalesce(of_group(without)[cut], F.lit(0))).alias(_TIMES),
        )
        for cut in range(len(ks))
        for without in (_NOBODY, *range(_GROUPS))
    ]
    return items.select(F.inline(F.array(*times))).groupBy(_CUT, _WITHOUT, _TIMES).agg(F.count("*").alias(_ITEMS))


def _jackknife(value: float, without_G: npt.NDArray[np.float64], confidence: float) -> Interval:
    groups = len(without_G)
    error = np.sqrt((groups - 1) / groups * ((without_G - without_G.mean()) ** 2).sum())
    reach = float(student_t.ppf((1 + confidence) / 2, groups - 1) * error)
    return Interval(value=value, low=max(0.0, value - reach), high=min(1.0, value + reach))
