"""Accuracy of ranked lists, per user: the one home of these definitions.

With hit_i = 1 if the i-th item of the list (i from 1) is in the user's truth, T = |truth|:

    precision@k   sum_{i<=k} hit_i / k                       a short list is not forgiven: the divisor stays k
    recall@k      sum_{i<=k} hit_i / T
    f1@k          2 P R / (P + R), 0 if both are 0
    hit_rate@k    1 if any hit_i, i <= k
    mrr@k         1 / (rank of the first hit), 0 if it is not within k
    map@k         sum_{i<=k} hit_i precision@i / min(k, T)
    ndcg@k        sum_{i<=k} hit_i / log2(i + 1)  over the same sum of a perfect list, min(k, T) hits at the top
                  (Jarvelin & Kekalainen, TOIS 2002, binary gain)

Precision, recall, ndcg and map are those of Spark's RankingMetrics (precisionAt, recallAt, ndcgAt,
meanAveragePrecisionAt, which also divides by min(k, T)). A user with truth and no recommendation scores 0. A row
without truth scores 0 everywhere; evaluation never asks for one.

Legend: B users, K list length.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kdspark.errors import ModelError
from kdspark.ranking.ragged import Csr
from kdspark.tables import ACCURACY

PerUser = dict[str, npt.NDArray[np.float64]]

NAMES = ACCURACY


def user_metrics(items_BK: npt.NDArray[np.integer[Any]], truth: Csr, ks: Sequence[int]) -> PerUser:
    """Every metric at every k, for each user.

    Args:
        items_BK: ranked item_idx, best first, padded with -1. K may be smaller than k: the rest counts as missed.
        truth: relevant item_idx per user as CSR (indptr [B+1], indices); repeated ones count once.
        ks: cut-offs, each at least 1.

    Returns:
        {"ndcg@10": float64 [B], ...} for all of `NAMES` and `ks`.

    Raises:
        ModelError: a list names an item twice, which would count one hit twice.
    """
    hits_BK, sizes_B = find_hits(items_BK, truth)
    metrics: PerUser = {}
    for k in ks:
        at_k = _at(hits_BK, sizes_B, k)
        metrics.update({f"{name}@{k}": at_k[name] for name in NAMES})
    return metrics


def find_hits(
    items_BK: npt.NDArray[np.integer[Any]], truth: Csr
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which list entries are in the user's truth [B, K], and how many distinct items each truth holds [B].

    Raises:
        ModelError: a list names an item twice.
    """
    rows, width = items_BK.shape
    indptr, indices = np.asarray(truth[0], np.int64), np.asarray(truth[1], np.int64)
    base = 1 + max(int(items_BK.max(initial=0)), int(indices.max(initial=0)))
    relevant = np.unique(np.repeat(np.arange(rows), np.diff(indptr)) * base + indices[indptr[0] : indptr[-1]])
    present_BK = items_BK >= 0
    listed_BK = np.arange(rows)[:, None] * base + items_BK
    ordered = np.sort(listed_BK[present_BK])
    if (ordered[1:] == ordered[:-1]).any():
        raise ModelError("A ranked list names an item twice.", "The model that made the list is broken; rebuild it.")
    if not len(relevant):
        return np.zeros((rows, width), np.bool_), np.zeros(rows, np.int64)
    nearest_BK = np.minimum(np.searchsorted(relevant, listed_BK), len(relevant) - 1)
    hits_BK = (relevant[nearest_BK] == listed_BK) & present_BK
    return hits_BK, np.bincount(relevant // base, minlength=rows)


def _at(hits_BK: npt.NDArray[np.bool_], sizes_B: npt.NDArray[np.int64], k: int) -> PerUser:
    hits = hits_BK[:, :k].astype(np.float64)
    place = np.arange(1, hits.shape[1] + 1)
    count_B = hits.sum(axis=1)
    precision_B = count_B / k
    recall_B = count_B / np.maximum(sizes_B, 1)
    best_B = np.minimum(sizes_B, k)
    perfect = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    reciprocal = hits / place
    # Sums along a row, not a matrix-vector product: BLAS may round a row differently with other rows around it.
    gain_B = (hits / np.log2(place + 1)).sum(axis=1)
    average_B = (np.cumsum(hits, axis=1) * reciprocal).sum(axis=1)
    return {
        "recall": recall_B,
        "precision": precision_B,
        "f1": _ratio(2 * precision_B * recall_B, precision_B + recall_B),
        "ndcg": _ratio(gain_B, perfect[best_B]),
        "hit_rate": (count_B > 0).astype(np.float64),
        "map": _ratio(average_B, best_B),
        "mrr": reciprocal.max(axis=1, initial=0.0),
    }


def _ratio(upper_B: npt.NDArray[np.float64], lower_B: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """upper / lower, 0 where lower is 0."""
    return np.divide(upper_B, lower_B, out=np.zeros(len(upper_B)), where=lower_B > 0)
