"""Beyond accuracy: novelty, diversity and popularity of lists; coverage and concentration over the catalogue.

Per user, over the first k items of the list (k' <= k of them, where the list is short):

    novelty@k           mean of -log2 p_i with p_i = (n_i + 1) / (sum_j n_j + N), n_i the training events of item i:
                        add-one smoothing, so that an item without events is finite (Zhou et al., PNAS 2010)
    diversity@k         1 - mean cosine of the k'(k'-1)/2 pairs of item vectors (Ziegler et al., WWW'05); an item
                        without features has cosine 0 with every other
    popularity@k        mean popularity percentile, in [0, 1]; items of equal counts share their mean percentile
    head_share@k        share of the list that is head items (popularity bias; Abdollahpouri et al., 2019)

They are NaN where undefined (an empty list; for diversity, fewer than two items) and such users are left out of
the mean: a missing list is punished by accuracy, it has no novelty.

Over the catalogue of N items, with e_i the number of lists that item i is in:

    coverage@k          share of items with e_i > 0
    gini@k              Gini coefficient of e: 0 if all items are shown equally often, (N - 1) / N if only one is

Legend: B users, K list length, N items, C codes per item, V vector length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdspark.ranking.metrics import PerUser

Floats = npt.NDArray[np.float64]
Items = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Catalogue:
    """What these metrics know of the items; row = item_idx.

    Attributes:
        counts_N: training events.
        codes_NC: category codes, 0 = padding; C may be 0.
        vector_NV: dense features, used for diversity only if there are no codes; V may be 0.
        head_N: the most popular items, see `head_items`.
    """

    counts_N: npt.NDArray[np.int64]
    codes_NC: npt.NDArray[np.integer[Any]]
    vector_NV: npt.NDArray[np.floating[Any]]
    head_N: npt.NDArray[np.bool_]

    def save(self, path: Path) -> None:
        """Write an .npz file, from which Spark's workers read it."""
        np.savez(path, counts=self.counts_N, codes=self.codes_NC, vector=self.vector_NV, head=self.head_N)

    @classmethod
    def load(cls, path: Path) -> "Catalogue":
        """Read what `save` wrote; never unpickles."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["counts"], file["codes"], file["vector"], file["head"])


def list_metrics(items_BK: Items, catalogue: Catalogue, ks: Sequence[int]) -> PerUser:
    """{"novelty@10": float64 [B], ...}, NaN where undefined; diversity only if items have codes or vectors.

    Args:
        items_BK: ranked item_idx, padded with -1.
    """
    counts_N = catalogue.counts_N
    surprise_N = -np.log2((counts_N + 1) / (counts_N.sum() + len(counts_N)))
    percentile_N = popularity_percentile(counts_N)
    metrics: PerUser = {}
    for k in ks:
        items = items_BK[:, :k]
        metrics[f"novelty@{k}"] = _list_mean(items, surprise_N)
        metrics[f"popularity@{k}"] = _list_mean(items, percentile_N)
        metrics[f"head_share@{k}"] = _list_mean(items, catalogue.head_N.astype(np.float64))
        if catalogue.codes_NC.shape[1]:
            metrics[f"diversity@{k}"] = code_diversity(items, catalogue.codes_NC)
        elif catalogue.vector_NV.shape[1]:
            metrics[f"diversity@{k}"] = vector_diversity(items, catalogue.vector_NV)
    return metrics


def head_items(counts_N: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.bool_]:
    """Mask of the ceil(share * N) items with the most events; ties by smaller item_idx."""
    size = int(np.ceil(share * len(counts_N) - 1e-9))
    mask = np.zeros(len(counts_N), np.bool_)
    mask[np.argsort(-counts_N, kind="stable")[:size]] = True
    return mask


def popularity_percentile(counts_N: npt.NDArray[np.int64]) -> Floats:
    """Share of the catalogue that is less popular, counting half of those equally popular (itself included)."""
    ordered = np.sort(counts_N)
    below, upto = np.searchsorted(ordered, counts_N), np.searchsorted(ordered, counts_N, side="right")
    return np.asarray((below + upto) / (2 * max(len(counts_N), 1)), np.float64)


def vector_diversity(items_BK: Items, vectors_NV: npt.NDArray[np.floating[Any]]) -> Floats:
    """1 - mean pairwise cosine of dense item vectors, per list; sum over pairs = (|sum x|^2 - sum |x|^2) / 2."""
    present_BK = items_BK >= 0
    vectors_BKV: Floats = vectors_NV[np.where(present_BK, items_BK, 0)].astype(np.float64)
    norms_BK = np.sqrt((vectors_BKV**2).sum(axis=2))
    real_BK = present_BK & (norms_BK > 0)
    unit_BKV = np.where(real_BK[..., None], vectors_BKV / np.where(real_BK, norms_BK, 1)[..., None], 0)
    squared_B = (unit_BKV.sum(axis=1) ** 2).sum(axis=1)
    return _pairwise(squared_B, real_BK.sum(axis=1), present_BK.sum(axis=1))


def code_diversity(items_BK: Items, codes_NC: npt.NDArray[np.integer[Any]]) -> Floats:
    """1 - mean pairwise cosine of multi-hot code vectors, which are never built: |A n B| / sqrt(|A| |B|) per pair.

    Memory grows with B * K * C, not with the number of codes.
    """
    present_BK = items_BK >= 0
    codes_BKC = np.sort(codes_NC[np.where(present_BK, items_BK, 0)].astype(np.int64), axis=2)
    distinct_BKC = (codes_BKC > 0) & present_BK[..., None]
    distinct_BKC[..., 1:] &= codes_BKC[..., 1:] != codes_BKC[..., :-1]
    sizes_BK = distinct_BKC.sum(axis=2)
    rows, places, _ = np.nonzero(distinct_BKC)
    weights = 1 / np.sqrt(sizes_BK[rows, places])
    # Sum the unit vectors of a list code by code, then square: one group per (row, code).
    keys, group = np.unique(rows * (int(codes_BKC.max(initial=0)) + 1) + codes_BKC[distinct_BKC], return_inverse=True)
    squares = np.bincount(group.ravel(), weights, minlength=len(keys)).astype(np.float64) ** 2
    row_of_key = keys // (int(codes_BKC.max(initial=0)) + 1)
    squared_B: Floats = np.bincount(row_of_key, squares, minlength=len(items_BK)).astype(np.float64)
    return _pairwise(squared_B, (sizes_BK > 0).sum(axis=1), present_BK.sum(axis=1))


def coverage(exposure_N: npt.NDArray[np.int64]) -> float:
    """Share of the catalogue in at least one list."""
    return float((exposure_N > 0).mean()) if len(exposure_N) else 0.0


def gini(exposure_N: npt.NDArray[np.int64]) -> float:
    """Gini coefficient, sum_i (2i - N - 1) e_(i) / (N sum e) over e in ascending order; 0 if nothing was shown."""
    total, n = int(exposure_N.sum()), len(exposure_N)
    if total == 0:
        return 0.0
    ordered = np.sort(exposure_N).astype(np.float64)
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total))


def exposure_by_popularity(
    exposure_N: npt.NDArray[np.int64], counts_N: npt.NDArray[np.int64], bins: int = 10
) -> list[tuple[float, float]]:
    """(upper popularity percentile, share of recommendations) of bins of equally many items, least popular first."""
    order = np.argsort(counts_N, kind="stable")
    total = max(int(exposure_N.sum()), 1)
    parts = np.array_split(exposure_N[order], bins)
    return [((index + 1) / bins, float(part.sum() / total)) for index, part in enumerate(parts)]


def _list_mean(items_BK: Items, values_N: Floats) -> Floats:
    present_BK = items_BK >= 0
    sums_B = np.where(present_BK, values_N[np.where(present_BK, items_BK, 0)], 0).sum(axis=1)
    return _divide(sums_B, present_BK.sum(axis=1))


def _pairwise(squared_B: Floats, real_B: npt.NDArray[np.int64], listed_B: npt.NDArray[np.int64]) -> Floats:
    # `real` items have unit vectors, so sum |x|^2 = real; the others add pairs of cosine 0.
    return 1 - _divide(squared_B - real_B.astype(np.float64), listed_B * (listed_B - 1))


def _divide(upper_B: Floats, lower_B: npt.NDArray[np.int64]) -> Floats:
    return np.divide(upper_B, lower_B, out=np.full(len(upper_B), np.nan), where=lower_B > 0)
