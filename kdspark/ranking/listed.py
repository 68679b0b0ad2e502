"""The best of a few items that are a user's own, where the catalogue need not be searched.

Legend: B users, K list length, X words of 64 lists, E entries of all users' lists.
"""

import numpy as np
import numpy.typing as npt

from kdspark.ranking.index import ItemIndex
from kdspark.ranking.products import pair_scores
from kdspark.ranking.ragged import Csr

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_ENTRIES = 1 << 20  # scored at a time


def best_of(
    users_BD: Floats, index: ItemIndex, listed: Csr, k: int, left_out: Csr, subject_BX: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int32], Floats]:
    """The k best of each user's own items, as `top_k` returns them."""
    width = max(1, len(index.items_ND))
    keys_E = np.setdiff1d(_keys(listed, width), _keys(left_out, width))
    rows_E, items_E = np.divmod(keys_E, width)
    places_E = index.columns.places(items_E)
    rows_E, items_E, places_E = (values_E[places_E >= 0] for values_E in (rows_E, items_E, places_E))
    open_E = ~(subject_BX[rows_E] & index.withheld_MX[places_E]).any(axis=1)
    rows_E, items_E = rows_E[open_E], items_E[open_E]
    scores_E = np.empty(len(rows_E), np.float32)
    for start in range(0, len(rows_E), _ENTRIES):
        part = slice(start, start + _ENTRIES)
        scores_E[part] = pair_scores(users_BD[rows_E[part]], index.items_ND, items_E[part, None])[:, 0]
    order_E = np.lexsort((items_E, -scores_E, rows_E))
    starts_B = np.searchsorted(rows_E, np.arange(len(users_BD)))
    ranks_E = np.arange(len(rows_E)) - starts_B[rows_E]
    best_E, ranks_E, rows_E = order_E[ranks_E < k], ranks_E[ranks_E < k], rows_E[ranks_E < k]
    items_BK, scores_BK = np.full((len(users_BD), k), -1, np.int32), np.full((len(users_BD), k), -np.inf, np.float32)
    items_BK[rows_E, ranks_E], scores_BK[rows_E, ranks_E] = items_E[best_E], scores_E[best_E]
    return items_BK, scores_BK


def _keys(csr: Csr, width: int) -> Ints:
    """row * width + item of every entry in [0, width)."""
    indptr, items = np.asarray(csr[0], np.int64), np.asarray(csr[1], np.int64)[csr[0][0] : csr[0][-1]]
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    inside = (items >= 0) & (items < width)
    return rows[inside] * width + items[inside]
