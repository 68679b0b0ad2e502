"""Inner products of chosen pairs, the same on every machine and in every batch, and how far a float32 one can be off.

A product of two float32 numbers is exact in float64, and a sum of D of them is off by 2^-53 D at most, relative to
the sum of magnitudes. Rounded to float32, the order of summation, which BLAS libraries choose as they like, is gone
but for a chance of about 2^-29 per number.

Legend: B users, N items, D dims, X items per user.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kdspark.tables import PAD

Floats = npt.NDArray[np.float32]

_CHUNK_FLOATS = 1 << 23  # bound of the gathered item vectors: 64 MiB
_UNIT_ROUNDOFF = 2.0**-24
_SMALLEST = 2.0**-126  # below it float32 loses relative precision, or is flushed to zero


def pair_scores(users_BD: Floats, items_ND: Floats, items_BX: npt.NDArray[np.integer[Any]]) -> Floats:
    """Inner products [B, X] of each user with its own items, rounded once; PAD scores 0.

    Args:
        users_BD, items_ND: float32 vectors.
        items_BX: item_idx or PAD.
    """
    rows, size = items_BX.shape
    scores_BX = np.zeros((rows, size), np.float32)
    if not len(items_ND):
        return scores_BX
    step = max(1, _CHUNK_FLOATS // max(1, size * users_BD.shape[1]))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        vectors = items_ND[np.maximum(items_BX[part], 0)].astype(np.float64)
        scores_BX[part] = np.matmul(vectors, users_BD[part].astype(np.float64)[:, :, None])[:, :, 0]
    scores_BX[items_BX == PAD] = 0.0
    return scores_BX


def rounding_bound(users_BD: Floats, items_ND: Floats) -> npt.NDArray[np.float64]:
    """For each user, the most by which a float32 inner product with any item is off, in any order of summation.

    |fl(u.v) - u.v| <= D e / (1 - D e) sum |u_d v_d| <= D e / (1 - D e) |u| |v|, e = 2^-24 (Higham, section 3.1), here
    with twice the e for good measure; one dimension alone is rounded as `pair_scores` rounds it, so it is never off.

    Returns:
        float64 [B].
    """
    dims = users_BD.shape[1]
    largest = float(np.sqrt(np.einsum("nd,nd->n", items_ND, items_ND, dtype=np.float64).max(initial=0.0)))
    sizes_B = np.sqrt(np.einsum("bd,bd->b", users_BD, users_BD, dtype=np.float64)) * largest
    if dims <= 1:
        return np.zeros_like(sizes_B)
    bound = dims * 2 * _UNIT_ROUNDOFF
    return np.where(sizes_B > 0, sizes_B * bound / (1 - bound) + dims * _SMALLEST, 0.0)
