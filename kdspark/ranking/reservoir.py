"""A bounded set of candidates per user, from which the k best are picked now and then instead of at every tile.

A candidate is one unsigned 64-bit key: the score's bits, mapped so that a larger score is a smaller number, then the
item_idx. Comparing keys therefore compares (score descending, item_idx ascending) exactly, ties and all, and one
partition of integers selects the k best.

Legend: B users of a tile, C capacity, K list length.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

_EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_SIGN = np.uint32(0x8000_0000)
_LOW = np.uint64(0xFFFF_FFFF)


def encode(scores: npt.NDArray[np.float32], items: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint64]:
    """Keys whose ascending order is score descending, item ascending. Scores are not NaN; -0 counts as 0."""
    bits = (scores + np.float32(0)).view(np.uint32)
    falling = np.where(bits & _SIGN, bits, ~(bits | _SIGN))
    return (falling.astype(np.uint64) << np.uint64(32)) | items.astype(np.uint64)


def decode(keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """(items, scores) of keys; empty slots give -1 and -inf."""
    falling = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(falling & _SIGN, falling, ~falling & ~_SIGN)
    empty = keys == _EMPTY
    scores = np.where(empty, np.float32(-np.inf), bits.view(np.float32))
    return np.where(empty, -1, (keys & _LOW).astype(np.int64)).astype(np.int32), scores


class Reservoir:
    """Candidates of the users of one tile.

    Args:
        users: B.
        k: how many of the best must survive.

    Attributes:
        threshold_B: only scores strictly above it can still enter the k best, provided that items are offered in
            ascending item_idx: a later item with an equal score loses the tie.
    """

    def __init__(self, users: int, k: int) -> None:
        self.k = k
        self.capacity = 2 * k + 32
        self.threshold_B = np.full(users, -np.inf, np.float32)
        self._keys_BC = np.full((users, self.capacity), _EMPTY)
        self._filled_B = np.zeros(users, np.int64)

    def add(self, rows: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64]) -> None:
        """Add candidates; `rows` ascending."""
        new_B = np.bincount(rows, minlength=len(self._filled_B))
        need = int((self._filled_B + new_B).max())
        if need > self.capacity:
            self.select()
            need = int((self._filled_B + new_B).max())
            if need > self._keys_BC.shape[1]:
                extra = np.full((len(new_B), need - self._keys_BC.shape[1]), _EMPTY)
                self._keys_BC = np.concatenate([self._keys_BC, extra], axis=1)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(new_B) - new_B, new_B) + self._filled_B[rows]
        self._keys_BC[rows, place] = keys
        self._filled_B += new_B
        if self._keys_BC.shape[1] > self.capacity:
            self.select()

    def select(self) -> None:
        """Drop all but the k best of each user and raise the thresholds."""
        keys_BK = np.partition(self._keys_BC, self.k - 1, axis=1)[:, : self.k]
        self._keys_BC = np.full((len(keys_BK), self.capacity), _EMPTY)
        self._keys_BC[:, : self.k] = keys_BK
        full_B = self._filled_B >= self.k
        self._filled_B = np.minimum(self._filled_B, self.k)
        _, worst_B = decode(keys_BK[:, self.k - 1])
        self.threshold_B = np.where(full_B, np.maximum(self.threshold_B, worst_B), self.threshold_B)

    def best(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """items_BK (-1 where there are fewer than k) and scores_BK (-inf there), best first."""
        self.select()
        return decode(np.sort(self._keys_BC[:, : self.k], axis=1))
