"""Items prepared for the top-k kernel: once for a catalogue, not for every batch of users.

The kernel's first look is at products of bfloat16, which processors that have them compute twice as fast as float32.
What they are off by is bounded by how far each vector moves when it is rounded:

    |u.c - u'.c'| <= |u - u'| |c'| + |u| |c - c'| + 2 D e |u'| |c'|        (Cauchy-Schwarz; e = 2^-24, Higham 3.1)

The bound is the smaller the shorter the items are, so they are moved by their mean first: that adds the same to all of
a user's scores, and orders nothing anew.

Legend: N items, M allowed items, B users, D dims, X words of 64 lists.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kdspark.errors import ModelError

Floats = npt.NDArray[np.float32]

_CHUNK = 1 << 16  # items prepared at a time
_SLACK = 1.01  # for the rounding of the bound itself
_SMALLEST = 2.0**-125  # numbers below may be flushed to zero
_UNIT_ROUNDOFF = 2.0**-24


def halves_are_fast() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Columns:
    """Which items are allowed, and where each stands among them.

    Attributes:
        columns_M: item_idx of the allowed items, ascending; None where all are.
    """

    def __init__(self, n_items: int, allowed_N: npt.NDArray[np.bool_] | None) -> None:
        self.n_items = n_items
        self.columns_M: npt.NDArray[np.int32] | None = None
        if allowed_N is not None and not allowed_N.all():
            self.columns_M = np.flatnonzero(allowed_N).astype(np.int32)
            self._places_N = np.where(allowed_N, np.cumsum(allowed_N) - 1, -1)

    def __len__(self) -> int:
        return self.n_items if self.columns_M is None else len(self.columns_M)

    def places(self, items: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Of items, which may be any numbers; -1 for those that are not among the allowed ones."""
        items = np.asarray(items, np.int64)
        inside = (items >= 0) & (items < self.n_items)
        if self.columns_M is None:
            return np.where(inside, items, -1)
        return np.where(inside, self._places_N[np.where(inside, items, 0)], -1) if self.n_items else items * 0 - 1

    def items(self, places: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The items at places; -1 stays."""
        if self.columns_M is None:
            return places
        if not len(self.columns_M):
            return np.full_like(places, -1)
        return np.where(places >= 0, self.columns_M[places], np.int32(-1))


class ItemIndex:
    """A catalogue to search.

    Args:
        items_ND: vectors, taken as float32.
        allowed_N: False leaves an item out for everyone.
        halves: look at bfloat16 first; null: where that is fast.
        withheld_NX: uint64, the lists that withhold an item from users who are subject to them, 64 to a word.

    Attributes:
        items_ND: float32.
        columns: which are allowed.
        allowed_MD: the vectors of these.
        halves_MD: the same, less their mean, as torch bfloat16; None without `halves`.
        withheld_MX: the lists of the allowed items.
        longest, moved: the largest length of a row of these, and the largest distance that one moved in rounding.

    Raises:
        ModelError: a vector is not finite.
    """

    def __init__(
        self,
        items_ND: Floats,
        allowed_N: npt.NDArray[np.bool_] | None = None,
        halves: bool | None = None,
        withheld_NX: npt.NDArray[np.uint64] | None = None,
    ) -> None:
        self.items_ND = np.ascontiguousarray(items_ND, np.float32)
        require_finite("item vector", self.items_ND)
        self.columns = Columns(len(self.items_ND), allowed_N)
        columns_M = self.columns.columns_M
        self.allowed_MD = self.items_ND if columns_M is None else self.items_ND[columns_M]
        if withheld_NX is None:
            withheld_NX = np.empty((len(self.items_ND), 0), np.uint64)
        self.withheld_MX = withheld_NX if columns_M is None else withheld_NX[columns_M]
        self.largest = float(np.abs(self.allowed_MD).max(initial=0.0))
        self.halves_MD: torch.Tensor | None = None
        self.longest = self.moved = 0.0
        if halves_are_fast() if halves is None else halves:
            self.halves_MD = self._halve()

    @property
    def dims(self) -> int:
        return self.items_ND.shape[1]

    def halves_error(self, users_BD: Floats, halves_BD: torch.Tensor) -> npt.NDArray[np.float64]:
        """What a product of `halves_BD` and `halves_MD` in float32 is off by, at most, for each user [B]."""
        users = torch.from_numpy(users_BD).double()
        rounded = halves_BD.double()
        moved_B, length_B, rounded_B = (part.norm(dim=1).numpy() for part in (users - rounded, users, rounded))
        sums_B = 2 * self.dims * _UNIT_ROUNDOFF * rounded_B * self.longest
        bound_B = _SLACK * (moved_B * self.longest + length_B * self.moved + sums_B) + self.dims * _SMALLEST
        return np.asarray(bound_B, np.float64)

    def _halve(self) -> torch.Tensor:
        """Sums and lengths in float64: squares of finite vectors need not be finite in float32."""
        vectors = torch.from_numpy(self.allowed_MD)
        halves_MD = torch.empty(vectors.shape, dtype=torch.bfloat16)
        parts = [slice(start, start + _CHUNK) for start in range(0, len(vectors), _CHUNK)]
        sums = [vectors[part].sum(dim=0, dtype=torch.float64) for part in parts]
        mean_D = (torch.stack(sums).sum(dim=0) / len(vectors)).float() if sums else torch.zeros(self.dims)
        for part in parts:
            centred = vectors[part] - mean_D
            halves_MD[part] = centred
            exact, rounded = centred.double(), halves_MD[part].double()
            self.longest = max(self.longest, float(rounded.norm(dim=1).max()))
            # centring itself is rounded, too: a float32 keeps all but 2^-24
            moved = (exact - rounded).norm(dim=1) + _UNIT_ROUNDOFF * exact.norm(dim=1)
            self.moved = max(self.moved, float(moved.max()))
        return halves_MD


def require_finite(what: str, rows_BX: Floats) -> None:
    """
    Raises:
        ModelError: a row is not finite.
    """
    if np.isfinite(rows_BX).all():
        return
    row = int(np.flatnonzero(~np.isfinite(rows_BX).all(axis=1))[0])
    raise ModelError(f"The {what} in row {row} is not finite.", "The model diverged; retrain it.")
