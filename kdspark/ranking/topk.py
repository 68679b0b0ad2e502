"""Exact top-k by inner product: tiled matrix products, selection pruned by the k-th best score so far.

The one kernel behind soft labels, evaluation and nightly scoring. Items come in ascending item_idx, so a score enters
a user's list only if it is strictly above that user's k-th best so far; that one comparison discards nearly all of a
tile. What passes goes to a reservoir (see `kdspark.ranking.reservoir`).

Exactness. BLAS rounds an element differently in matrices of different shapes, on different processors, and on some
even in different rows of one matrix. So float32 products only choose candidates, a few more than k; those are scored
again in float64 (see `kdspark.ranking.products`) and ordered by that. The classic bound on the rounding error of an
inner product (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1) proves that no other item belongs
into the list; users for whom it proves nothing (items with equal vectors at the end of a list, say) are scanned again
in float64. A user's list therefore depends neither on who shares the call nor on the machine. User vectors that come
out of a network need the same care: encode batches of one fixed size.

Legend: B users, T users of a tile, N items, M items of a tile, D dims, K list length, G groups.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kdspark.errors import ModelError
from kdspark.ranking.products import pair_scores, rounding_bound
from kdspark.ranking.ragged import Csr, select_rows
from kdspark.ranking.reservoir import Reservoir, encode
from kdspark.ranking.tiles import USER_TILE, Given, Products, Source

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_SPARE = 16  # candidates beyond k: makes second scans rare
_MISMATCH = "Check that the model folder and the tables belong together."


def top_k(
    users_BD: npt.NDArray[np.floating[Any]],
    items_ND: npt.NDArray[np.floating[Any]],
    k: int,
    seen: Csr | None = None,
    allowed_N: npt.NDArray[np.bool_] | None = None,
    memory_mib: int = 256,
) -> tuple[npt.NDArray[np.int32], Floats]:
    """The k best items of every user by users_BD @ items_ND.T, exact to the last bit of float32.

    Args:
        users_BD, items_ND: vectors, taken as float32.
        k: list length, at least 1; may exceed N.
        seen: items to leave out per user, as CSR (indptr [B+1], item_idx in any order); entries outside [0, N) are
            ignored. Costs time in proportion to its length only.
        allowed_N: False leaves an item out for everyone.
        memory_mib: bound of the score tile.

    Returns:
        items_BK int32, best first, ties by smaller item_idx, padded with -1 where fewer items remain;
        scores_BK float32, inner products rounded once, padded with -inf.

    Raises:
        ModelError: a vector or a score is not finite, or the shapes do not fit.
    """
    users_BD = np.ascontiguousarray(users_BD, np.float32)
    items_ND = np.ascontiguousarray(items_ND, np.float32)
    _check(users_BD, items_ND, k, seen, allowed_N)
    items_BX, rough_BX = _scan(Products(users_BD, items_ND, memory_mib), k + _SPARE, seen, allowed_N)
    items_BK, scores_BK, proven_B = _refine(users_BD, items_ND, items_BX, rough_BX, k)
    if not proven_B.all():
        again = np.flatnonzero(~proven_B)
        rest = None if seen is None else select_rows(seen, again)
        exact = Products(users_BD[again], items_ND, memory_mib, np.float64)
        items_BK[again], scores_BK[again] = _scan(exact, k, rest, allowed_N)
    return items_BK, scores_BK


def top_k_of_scores(
    scores_BN: npt.NDArray[np.floating[Any]],
    k: int,
    seen: Csr | None = None,
    allowed_N: npt.NDArray[np.bool_] | None = None,
    memory_mib: int = 256,
) -> tuple[npt.NDArray[np.int32], Floats]:
    """The k best items of every user by scores that are no inner products, taken as float32; otherwise as `top_k`."""
    scores_BN = np.ascontiguousarray(scores_BN, np.float32)
    n_users, n_items = scores_BN.shape
    _check_masks(n_users, n_items, k, seen, allowed_N)
    _check_finite("row of scores", scores_BN)
    return _scan(Given(scores_BN, memory_mib), k, seen, allowed_N)


def _scan(
    source: Source, k: int, seen: Csr | None, allowed_N: npt.NDArray[np.bool_] | None
) -> tuple[npt.NDArray[np.int32], Floats]:
    """The k best of every user by the scores of a source as they are."""
    penalty_N = None if allowed_N is None or allowed_N.all() else np.where(allowed_N, 0, -np.inf).astype(np.float32)
    items_BK = np.full((source.n_users, k), -1, np.int32)
    scores_BK = np.full((source.n_users, k), -np.inf, np.float32)
    above = np.empty(USER_TILE * source.width, np.bool_)
    for start in range(0, source.n_users, USER_TILE):
        rows = min(USER_TILE, source.n_users - start)
        reservoir = Reservoir(USER_TILE, k)
        reservoir.threshold_B[rows:] = np.inf  # padding wants no items
        masked = _SeenTile(seen, start, rows, source.n_items)
        for first, scores_TM in source.tiles(start, rows):
            if penalty_N is not None:
                scores_TM += penalty_N[first : first + scores_TM.shape[1]]
            masked.apply(scores_TM, first)
            _offer(reservoir, scores_TM, first, above)
        best_items, best_scores = reservoir.best()
        items_BK[start : start + rows], scores_BK[start : start + rows] = best_items[:rows], best_scores[:rows]
    return items_BK, scores_BK


def _refine(
    users_BD: Floats, items_ND: Floats, items_BX: npt.NDArray[np.int32], rough_BX: Floats, k: int
) -> tuple[npt.NDArray[np.int32], Floats, npt.NDArray[np.bool_]]:
    """Candidates in their exact order, cut to k, and whether these are proven to be the k best of all items.

    An item that is no candidate has at most the rough score of the worst candidate, and so at most that plus the
    rounding error as its true score; it is out if that is below the k-th best true score. Without rounding error
    rough scores are true ones. A list of fewer candidates than asked for holds all there are.
    """
    scores_BX = pair_scores(users_BD, items_ND, items_BX)
    scores_BX[items_BX < 0] = -np.inf
    order_BX = np.lexsort((items_BX, -scores_BX), axis=1)[:, :k]
    items_BK, scores_BK = np.take_along_axis(items_BX, order_BX, 1), np.take_along_axis(scores_BX, order_BX, 1)
    error_B = rounding_bound(users_BD, items_ND)
    worst_B = rough_BX[:, -1].astype(np.float64) + error_B
    rounded_up_B = np.nextafter(worst_B.astype(np.float32), np.float32(np.inf))
    proven_B = (rounded_up_B < scores_BK[:, -1]) | (error_B == 0) | (items_BX[:, -1] < 0)
    return items_BK, scores_BK, proven_B


def _offer(reservoir: Reservoir, scores_TM: Floats, first: int, buffer: npt.NDArray[np.bool_]) -> None:
    """Put the scores that may still matter into the reservoir."""
    if first == 0:
        reservoir.threshold_B = np.maximum(reservoir.threshold_B, _lower_bound(scores_TM, reservoir.k))
    width = scores_TM.shape[1]
    above = buffer[: scores_TM.size]
    np.greater(scores_TM, reservoir.threshold_B[:, None], out=above.reshape(scores_TM.shape))
    # Eight at a time, since nearly all are False (USER_TILE makes the size divisible by 8).
    words = np.flatnonzero(above.view(np.uint64))
    inside = np.flatnonzero(above.reshape(-1, 8)[words])
    passed = words[inside >> 3] * 8 + (inside & 7)
    if len(passed):
        rows = passed // width
        columns = passed - rows * width
        reservoir.add(rows, encode(scores_TM.reshape(-1)[passed], columns + first))


def _lower_bound(scores_TM: Floats, k: int) -> Floats:
    """Just below a value that at least k scores of each row reach: the k-th largest of the maxima of many groups."""
    width = scores_TM.shape[1]
    groups = min(width, max(128, 4 * k))
    if groups < k:
        return np.full(len(scores_TM), -np.inf, np.float32)
    deep = width // groups
    maxima_TG = scores_TM[:, : deep * groups].reshape(len(scores_TM), deep, groups).max(axis=1)
    kth_T = np.partition(maxima_TG, groups - k, axis=1)[:, groups - k]
    return np.nextafter(kth_T, np.float32(-np.inf))


class _SeenTile:
    """The seen items of a tile's users, in order of item, so that each tile of items finds its own at once."""

    def __init__(self, seen: Csr | None, start: int, rows: int, n_items: int) -> None:
        self._items = self._rows = np.empty(0, np.int64)
        if seen is None:
            return
        bounds = np.asarray(seen[0][start : start + rows + 1], np.int64)
        items = np.asarray(seen[1][bounds[0] : bounds[-1]], np.int64)
        row = np.repeat(np.arange(rows), np.diff(bounds))
        order = np.argsort(items, kind="stable")
        inside = slice(*np.searchsorted(items, [0, n_items], sorter=order))
        self._items, self._rows = items[order][inside], row[order][inside]

    def apply(self, scores_TM: Floats, first: int) -> None:
        """Set them to -inf in the scores of items [first, first + M)."""
        low, high = np.searchsorted(self._items, [first, first + scores_TM.shape[1]])
        scores_TM[self._rows[low:high], self._items[low:high] - first] = -np.inf


def _check(
    users_BD: Floats, items_ND: Floats, k: int, seen: Csr | None, allowed_N: npt.NDArray[np.bool_] | None
) -> None:
    if users_BD.ndim != 2 or items_ND.ndim != 2 or users_BD.shape[1] != items_ND.shape[1]:
        raise ModelError(f"User vectors {users_BD.shape} do not fit item vectors {items_ND.shape}.", _MISMATCH)
    _check_masks(len(users_BD), len(items_ND), k, seen, allowed_N)
    _check_finite("user vector", users_BD)
    _check_finite("item vector", items_ND)


def _check_masks(n_users: int, n_items: int, k: int, seen: Csr | None, allowed_N: npt.NDArray[np.bool_] | None) -> None:
    if k < 1:
        raise ModelError(f"k is {k}.", "Ask for at least one item per user.")
    if seen is not None and (len(seen[0]) != n_users + 1 or len(seen[1]) < seen[0][-1]):
        raise ModelError(f"Seen items of {len(seen[0]) - 1} users given for {n_users} users.", _MISMATCH)
    if allowed_N is not None and allowed_N.shape != (n_items,):
        raise ModelError(f"A mask {allowed_N.shape} of allowed items given for {n_items} items.", _MISMATCH)


def _check_finite(what: str, rows_BX: Floats) -> None:
    finite_B = np.isfinite(rows_BX).all(axis=1)
    if not finite_B.all():
        row = int(np.flatnonzero(~finite_B)[0])
        raise ModelError(f"The {what} in row {row} is not finite.", "The model diverged; retrain it.")
