"""Where the top-k kernel gets its scores: tiles of users by items, from vectors or from scores computed before.

Legend: B users, T users of a tile, M items, W items of a tile, D dims.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kdspark.errors import ModelError
from kdspark.ranking.index import Columns, ItemIndex
from kdspark.ranking.products import rounding_bound

Floats = npt.NDArray[np.float32]

USER_TILE = 256
_MAX_ITEM_TILE = 4096  # larger tiles fall out of the cache
_EXPONENT_AND_FRACTION = np.int16(0x7FFF)


class Source(ABC):
    """Scores of B users for M items, a tile at a time. Each thread asks with a buffer of its own.

    Attributes:
        exact: the scores are the true ones; else these are within error_B + relative * |score| of the true ones.
        dtype: of a tile: float32, or int16 for the bits of a bfloat16.
        nothing: -inf in a tile.
    """

    exact = False
    relative = 0.0
    dtype: npt.DTypeLike = np.float32
    nothing: np.generic = np.float32(-np.inf)
    bytes_per_score = 4

    def __init__(self, n_users: int, n_items: int) -> None:
        self.n_users, self.n_items = n_users, n_items
        self.error_B = np.zeros(n_users, np.float32)

    @abstractmethod
    def fill(self, users: slice, items: slice, tile_TW: npt.NDArray[Any]) -> None:
        """Write the scores of some users for some items."""

    def masked(self, tile_TW: npt.NDArray[Any], rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> None:
        """Set scores to -inf."""
        tile_TW[rows, columns] = self.nothing

    def reaching(self, tile_TW: npt.NDArray[Any], limits_T: Floats, above_TW: npt.NDArray[np.bool_]) -> None:
        """Which scores reach their row's limit; a few more may be marked."""
        np.greater_equal(tile_TW, limits_T[:, None], out=above_TW)

    def maxima(self, tile_TW: npt.NDArray[Any], groups: int) -> Floats:
        """The largest scores [T, groups] of as many disjoint groups of columns."""
        return _grouped(tile_TW, groups).max(axis=1)  # type: ignore[no-any-return]


class Halves(Source):
    """Inner products of vectors rounded to bfloat16, summed in float32, and rounded to bfloat16 again."""

    relative = 0.004  # 2^-8 of the unrounded product, which may be as much above the rounded one
    dtype = np.int16
    nothing = np.int16(-128)  # its bits in bfloat16
    bytes_per_score = 2 + 2  # and the bits in order, where a limit is negative

    def __init__(self, users_BD: Floats, index: ItemIndex) -> None:
        assert index.halves_MD is not None
        super().__init__(len(users_BD), len(index.halves_MD))
        self._users_BD, self._items_MD = torch.from_numpy(users_BD).bfloat16(), index.halves_MD
        self.error_B = round_up(index.halves_error(users_BD, self._users_BD))

    def fill(self, users: slice, items: slice, tile_TW: npt.NDArray[Any]) -> None:
        out = torch.from_numpy(tile_TW).view(torch.bfloat16)
        torch.mm(self._users_BD[users], self._items_MD[items].T, out=out)

    def reaching(self, tile_TW: npt.NDArray[Any], limits_T: Floats, above_TW: npt.NDArray[np.bool_]) -> None:
        """The bits of positive numbers are in the order of the numbers, and above those of negative ones."""
        keys_TW = tile_TW if limits_T.min(initial=np.inf) > 0 else in_order(tile_TW)
        np.greater_equal(keys_TW, in_order(halves_below(limits_T))[:, None], out=above_TW)

    def maxima(self, tile_TW: npt.NDArray[Any], groups: int) -> Floats:
        largest_TG = in_order(_grouped(in_order(tile_TW), groups).max(axis=1))
        return (largest_TG.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)


class Products(Source):
    """Inner products computed in float32, in whatever order the machine's BLAS adds."""

    def __init__(self, users_BD: Floats, index: ItemIndex) -> None:
        super().__init__(len(users_BD), len(index.allowed_MD))
        self._users_BD, self._items_MD = users_BD, index.allowed_MD
        self.error_B = round_up(rounding_bound(users_BD, index.allowed_MD))

    def fill(self, users: slice, items: slice, tile_TW: npt.NDArray[Any]) -> None:
        np.matmul(self._users_BD[users], self._items_MD[items].T, out=tile_TW)


class Exact(Source):
    """Inner products computed in float64 and rounded once.

    Raises:
        ModelError: a product of two finite vectors is not finite.
    """

    exact = True
    bytes_per_score = 4 + 8

    def __init__(self, users_BD: Floats, index: ItemIndex) -> None:
        super().__init__(len(users_BD), len(index.allowed_MD))
        self._users_BD, self._items_MD = users_BD.astype(np.float64), index.allowed_MD

    def fill(self, users: slice, items: slice, tile_TW: npt.NDArray[Any]) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            tile_TW[...] = self._users_BD[users] @ self._items_MD[items].astype(np.float64).T
        if not np.isfinite(tile_TW).all():
            raise ModelError(
                "A score overflows: the inner product of two finite vectors is not.",
                "The model diverged; retrain it.",
            )


class Given(Source):
    """Scores that are there already, float32 [B, N], of which the columns count that are allowed."""

    exact = True

    def __init__(self, scores_BN: Floats, columns: Columns) -> None:
        super().__init__(len(scores_BN), len(columns))
        self._scores_BN, self._columns_M = scores_BN, columns.columns_M

    def fill(self, users: slice, items: slice, tile_TW: npt.NDArray[Any]) -> None:
        columns = items if self._columns_M is None else self._columns_M[items]
        tile_TW[...] = self._scores_BN[users][:, columns]


def tiles(source: Source, width: int, users: slice, buffer: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """(first item, scores_TW) in ascending order of items. All tiles are in the one buffer, and may be written into."""
    rows = users.stop - users.start
    for first in range(0, source.n_items, width):
        items = slice(first, min(first + width, source.n_items))
        tile_TW = buffer[: rows * (items.stop - first)].reshape(rows, items.stop - first)
        source.fill(users, items, tile_TW)
        yield first, tile_TW


def tile_width(source: Source, memory_mib: int) -> int:
    """Items of a tile, so that its scores, and a mask of them, stay within the bound and in the cache."""
    affordable = (memory_mib << 20) // (USER_TILE * (source.bytes_per_score + 1))
    return max(1, min(source.n_items, _MAX_ITEM_TILE, affordable))


def in_order(bits: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Bits of bfloat16 as whole numbers in the order of what they stand for; its own inverse."""
    return bits ^ ((bits >> np.int16(15)) & _EXPONENT_AND_FRACTION)  # type: ignore[no-any-return]


def halves_below(values: Floats) -> npt.NDArray[np.int16]:
    """Bits of the largest bfloat16 at most as large as each value, or of one a step below."""
    bits = (np.asarray(values, np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.int16)
    return bits + (values < 0).astype(np.int16)  # cut off, a negative number is larger: the next one is not


def round_up(values: npt.NDArray[np.float64]) -> Floats:
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def _grouped(tile_TW: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """[T, members, groups]; some columns at the end are in none."""
    members = tile_TW.shape[1] // groups
    return tile_TW[:, : members * groups].reshape(len(tile_TW), members, groups)
