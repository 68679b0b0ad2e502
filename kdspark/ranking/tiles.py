"""Where the top-k kernel gets its scores: tiles of users by items, from vectors or from scores computed before.

Legend: B users, T users of a tile, N items, M items of a tile, D dims.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kdspark.errors import ModelError

Floats = npt.NDArray[np.float32]

USER_TILE = 256
_MAX_ITEM_TILE = 4096  # larger tiles fall out of the cache
_BYTES_PER_SCORE = 4 + 8 + 1  # float32 score, float64 score, bool mask


class Source(Protocol):
    """Scores of B users for N items, a tile at a time."""

    n_users: int
    n_items: int
    width: int

    def tiles(self, start: int, rows: int) -> Iterator[tuple[int, Floats]]:
        """(first item_idx, scores_TM) for users start..start+rows-1, padded to USER_TILE rows, items ascending.

        The arrays share one buffer, which the caller may write into.
        """


class Products:
    """Inner products users_BD @ items_ND.T, computed in `precision` and rounded to float32."""

    def __init__(
        self, users_BD: Floats, items_ND: Floats, memory_mib: int, precision: type[np.floating[Any]] = np.float32
    ) -> None:
        self.users_BD, self.items_ND, self.precision = users_BD, items_ND, precision
        self.n_users, self.n_items = len(users_BD), len(items_ND)
        self.width = tile_width(self.n_items, memory_mib)
        self._risky = _may_overflow(users_BD, items_ND)
        self._buffer = np.empty(USER_TILE * self.width, np.float32)

    def tiles(self, start: int, rows: int) -> Iterator[tuple[int, Floats]]:
        users_TD = pad_rows(self.users_BD[start : start + rows], USER_TILE).astype(self.precision, copy=False)
        for first in range(0, self.n_items, self.width):
            items_MD = self.items_ND[first : first + self.width]
            scores_TM = self._buffer[: USER_TILE * len(items_MD)].reshape(USER_TILE, len(items_MD))
            with np.errstate(over="ignore", invalid="ignore"):
                if users_TD.dtype == np.float32:
                    np.matmul(users_TD, items_MD.T, out=scores_TM)
                else:
                    scores_TM[...] = users_TD @ items_MD.T.astype(users_TD.dtype)
            if self._risky and not np.isfinite(scores_TM).all():
                raise ModelError(
                    "A score overflows: the inner product of two finite vectors is not.",
                    "The model diverged; retrain it.",
                )
            yield first, scores_TM


class Given:
    """Scores that are there already, float32 [B, N]."""

    def __init__(self, scores_BN: Floats, memory_mib: int) -> None:
        self.scores_BN = scores_BN
        self.n_users, self.n_items = scores_BN.shape
        self.width = tile_width(self.n_items, memory_mib)
        self._buffer = np.empty(USER_TILE * self.width, np.float32)

    def tiles(self, start: int, rows: int) -> Iterator[tuple[int, Floats]]:
        for first in range(0, self.n_items, self.width):
            scores_RM = self.scores_BN[start : start + rows, first : first + self.width]
            scores_TM = self._buffer[: USER_TILE * scores_RM.shape[1]].reshape(USER_TILE, scores_RM.shape[1])
            scores_TM[:rows], scores_TM[rows:] = scores_RM, 0.0
            yield first, scores_TM


def tile_width(n_items: int, memory_mib: int) -> int:
    """Items of a tile, so that its scores stay within the bound and in the cache."""
    affordable = (memory_mib << 20) // (USER_TILE * _BYTES_PER_SCORE)
    return max(1, min(n_items, _MAX_ITEM_TILE, affordable))


def pad_rows(rows_BX: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Rows of zeros appended up to `size` rows."""
    if len(rows_BX) == size:
        return rows_BX
    padded = np.zeros((size, *rows_BX.shape[1:]), rows_BX.dtype)
    padded[: len(rows_BX)] = rows_BX
    return padded


def _may_overflow(users_BD: Floats, items_ND: Floats) -> bool:
    if not users_BD.size or not items_ND.size:
        return False
    largest = float(np.abs(users_BD).max()) * float(np.abs(items_ND).max()) * users_BD.shape[1]
    return largest > 1e38
