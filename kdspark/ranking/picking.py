"""Choosing from a pool of good items, one after the other, what makes a good list: caps, and diversity.

Compiled by numba: which item comes next depends on all before it.

Legend: B users, P items of a pool, K list length, N items, D dims, G groups.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kdspark.ranking.compiled import REASSOCIATE, compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@compiled()
def _fits(
    item: int, indptr: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], most_G: Ints, counts_G: Ints
) -> bool:
    full = 0
    for place in range(indptr[item], indptr[item + 1]):
        full += counts_G[groups[place]] >= most_G[groups[place]]
    return full == 0


@compiled()
def _count(item: int, by: int, indptr: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], counts_G: Ints) -> None:
    for place in range(indptr[item], indptr[item + 1]):
        counts_G[groups[place]] += by


@compiled(fastmath=REASSOCIATE)
def _draw_near(pool_PD: Floats, n: int, vector_D: Floats, nearest_P: Floats) -> None:
    """Raise the similarity of each of the pool's first n items to the most similar one chosen."""
    for place in range(n):
        total = np.float32(0)
        for dim in range(len(vector_D)):
            total += pool_PD[place, dim] * vector_D[dim]
        nearest_P[place] = max(nearest_P[place], total)


@compiled()
def pick(
    pool_BP: Ints,
    pool_scores_BP: Floats,
    indptr: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    most_G: Ints,
    share: float,
    vectors_ND: Floats,
    reason: int,
    items_BK: Ints,
    scores_BK: Floats,
    reasons_BK: npt.NDArray[np.uint8],
    filled_B: npt.NDArray[np.int64],
) -> None:
    """Append to each list what its pool has to offer, until it is full.

    Without diversity the best that fits comes next; with it, the one of the largest
    (1 - share) * relevance - share * similarity, where relevance is the score, from 0 for the pool's worst to 1 for its
    best, and similarity the cosine to the most similar item of the list (0 where that is empty).

    Args:
        pool_BP, pool_scores_BP: best first, -1 behind them.
        indptr, groups: each item's groups, as CSR.
        most_G: how many of a group.
        share: of diversity; 0 for none.
        vectors_ND: of length 1.
        reason: recorded for what is appended.
        items_BK, scores_BK, reasons_BK, filled_B: the lists, and how much of each there is; appended to in place.
    """
    k, size, dims = items_BK.shape[1], pool_BP.shape[1], vectors_ND.shape[1]
    counts_G = np.zeros(len(most_G), np.int32)
    taken_P = np.empty(size, np.bool_)
    nearest_P = np.empty(size, np.float32)
    pool_PD = np.empty((size, dims), np.float32)
    for row in range(len(pool_BP)):
        n = 0
        while n < size and pool_BP[row, n] >= 0:
            n += 1
        for place in range(filled_B[row]):
            _count(items_BK[row, place], 1, indptr, groups, counts_G)
        taken_P[:n] = False
        least, scale = np.float32(0), np.float32(0)
        if share > 0 and n:
            least = pool_scores_BP[row, n - 1]
            spread = pool_scores_BP[row, 0] - least
            scale = np.float32(1) / spread if spread > 0 else np.float32(0)
            for place in range(n):
                pool_PD[place] = vectors_ND[pool_BP[row, place]]
            nearest_P[:n] = -1 if filled_B[row] else 0
            for place in range(filled_B[row]):
                _draw_near(pool_PD, n, vectors_ND[items_BK[row, place]], nearest_P)
        start = 0
        while filled_B[row] < k:
            best, largest = -1, -np.inf
            for place in range(start, n):
                if taken_P[place] or not _fits(pool_BP[row, place], indptr, groups, most_G, counts_G):
                    continue
                if share == 0:
                    best, start = place, place + 1
                    break
                relevance = (pool_scores_BP[row, place] - least) * scale
                value = (1 - share) * relevance - share * nearest_P[place]
                if value > largest:
                    best, largest = place, value
            if best < 0:
                break
            item, filled = pool_BP[row, best], filled_B[row]
            taken_P[best] = True
            items_BK[row, filled], scores_BK[row, filled] = item, pool_scores_BP[row, best]
            reasons_BK[row, filled] = reason
            filled_B[row] = filled + 1
            _count(item, 1, indptr, groups, counts_G)
            if share > 0:
                if filled == 0:
                    nearest_P[:n] = -1
                _draw_near(pool_PD, n, pool_PD[best], nearest_P)
        for place in range(filled_B[row]):
            _count(items_BK[row, place], -1, indptr, groups, counts_G)


def unit_vectors(items_ND: Floats, allowed_N: npt.NDArray[np.bool_]) -> Floats:
    """Item vectors less the mean of the allowed ones, of length 1 (or 0): their products are cosines.

    Without the mean, which all items have in common, everything would be alike.
    """
    mean_D = items_ND[allowed_N].mean(axis=0, dtype=np.float64) if allowed_N.any() else np.zeros(items_ND.shape[1])
    centred_ND = (items_ND - mean_D).astype(np.float32)
    lengths_N = np.linalg.norm(centred_ND, axis=1)
    result: npt.NDArray[Any] = centred_ND / np.where(lengths_N > 0, lengths_N, 1)[:, None]
    return result
