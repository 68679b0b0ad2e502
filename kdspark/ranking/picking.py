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
def _largest_product(vector_D: Floats, vectors_ND: Floats, items: Ints, n: int, largest: np.float32) -> np.float32:
    """That of a vector with the first n items, or what it was before."""
    for place in range(n):
        total = np.float32(0)
        for dim in range(len(vector_D)):
            total += vector_D[dim] * vectors_ND[items[place], dim]
        largest = max(largest, total)
    return largest


@compiled()
def _most_diverse(
    pool: Ints,
    n: int,
    chosen: Ints,
    filled: int,
    share: float,
    vectors_ND: Floats,
    values: Floats,
    nearest: Floats,
    met: Ints,
) -> int:
    """The place in the pool of the largest value, -1 where all are -inf.

    A value can only fall as more is chosen, so an old one is a bound, and none but the largest need be up to date
    (Minoux, "Accelerated greedy algorithms", 1978): of a pool's tail no similarity is ever computed.

    Args:
        values: as of when `met` items had been chosen.
        nearest: the similarity to the most similar of these.
    """
    while True:
        best = 0
        for place in range(1, n):
            best = place if values[place] > values[best] else best
        if n == 0 or values[best] == -np.inf:
            return -1
        if met[best] == filled:
            return best
        largest = _largest_product(
            vectors_ND[pool[best]], vectors_ND, chosen[met[best] :], filled - met[best], nearest[best]
        )
        values[best] -= np.float32(share) * (largest - nearest[best])
        nearest[best], met[best] = largest, filled


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
    best, and similarity the cosine to the most similar item of the list, 0 where none is above.

    Args:
        pool_BP, pool_scores_BP: best first, -1 behind them.
        indptr, groups: each item's groups, as CSR.
        most_G: how many of a group.
        share: of diversity; 0 for none.
        vectors_ND: of length 1.
        reason: recorded for what is appended.
        items_BK, scores_BK, reasons_BK, filled_B: the lists, and how much of each there is; appended to in place.
    """
    k, size = items_BK.shape[1], pool_BP.shape[1]
    counts_G, met = np.zeros(len(most_G), np.int32), np.empty(size, np.int32)
    values, nearest = np.empty(size, np.float32), np.empty(size, np.float32)
    for row in range(len(pool_BP)):
        pool, scores, chosen, filled = pool_BP[row], pool_scores_BP[row], items_BK[row], filled_B[row]
        n = 0
        while n < size and pool[n] >= 0:
            n += 1
        for place in range(filled):
            _count(chosen[place], 1, indptr, groups, counts_G)
        scale = np.float32(0)
        if share > 0 and n and scores[0] > scores[n - 1]:
            scale = np.float32(1 - share) / (scores[0] - scores[n - 1])
        for place in range(n):
            values[place] = (scores[place] - scores[n - 1]) * scale
        met[:n], nearest[:n] = 0, 0
        next_one = -1
        while filled < k:
            if share > 0:
                best = _most_diverse(pool, n, chosen, filled, share, vectors_ND, values, nearest, met)
            else:
                next_one += 1
                best = next_one if next_one < n else -1
            if best < 0:
                break
            values[best] = -np.inf
            if _fits(pool[best], indptr, groups, most_G, counts_G):
                chosen[filled], scores_BK[row, filled], reasons_BK[row, filled] = pool[best], scores[best], reason
                _count(pool[best], 1, indptr, groups, counts_G)
                filled += 1
        filled_B[row] = filled
        for place in range(filled):
            _count(chosen[place], -1, indptr, groups, counts_G)


def unit_vectors(items_ND: Floats, allowed_N: npt.NDArray[np.bool_]) -> Floats:
    """Item vectors less the mean of the allowed ones, of length 1 (or 0): their products are cosines.

    Without the mean, which all items have in common, everything would be alike.
    """
    mean_D = items_ND[allowed_N].mean(axis=0, dtype=np.float64) if allowed_N.any() else np.zeros(items_ND.shape[1])
    centred_ND = (items_ND - mean_D).astype(np.float32)
    lengths_N = np.linalg.norm(centred_ND, axis=1)
    result: npt.NDArray[Any] = centred_ND / np.where(lengths_N > 0, lengths_N, 1)[:, None]
    return result
