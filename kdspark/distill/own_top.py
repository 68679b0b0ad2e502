"""The student's own top items of every training row, found exactly in the whole catalogue and kept for some epochs.

For catalogues that no step can rank: a tiled exact top-k every few epochs costs much less than scores of the whole
catalogue in every step, and, other than a uniformly drawn pool, it holds what the student really recommends. RCE-KD
(Zhu & Zhang, ICLR 2026) refreshes its ranking once an epoch.

Legend: B rows of a batch, Q training rows, R items per row, N items, D dims, X known items.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdspark.distill.context import Context
from kdspark.errors import TrainingError
from kdspark.models.answers import as_floats
from kdspark.models.memory import require_memory
from kdspark.ranking.index import ItemIndex
from kdspark.ranking.topk import top_k

_KEY_BYTES = 8 + 8  # a row's key, and its place in the order of keys


class OwnTop:
    """Items of the training rows by their keys, on the CPU.

    Args:
        size: R, at most; PAD where a row has fewer.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._items_QR = np.empty((0, size), np.int32)
        self._keys_Q = self._places_Q = np.empty(0, np.int64)

    def find(self, steps: Iterable[Context], rows: int) -> None:
        """Find the top of every row of these steps, in place of what was kept before.

        Args:
            steps: the rows, encoded without gradients, all with the same items; their batches have keys.
            rows: how many there are, at most.

        Raises:
            TrainingError: the items of so many rows do not fit into memory, or a batch has no keys.
        """
        require_memory(
            rows * (self.size * 4 + _KEY_BYTES),
            f"The student's own top {self.size:,} items of {rows:,} training rows",
            "Lower `reach` of the losses with `refresh`, set `pool` instead of `refresh`, or train on more processes.",
        )
        self._items_QR = np.empty((rows, self.size), np.int32)
        keys_Q = np.empty(rows, np.int64)
        done, index = 0, None
        for context in steps:
            part = slice(done, done + len(context.batch))
            index = index or ItemIndex(as_floats(context.items_ND))
            keys_Q[part], self._items_QR[part] = _keys(context.batch.keys), exact_top(context, index, self.size)
            done = part.stop
        self._places_Q = np.argsort(keys_Q[:done], kind="stable")
        self._keys_Q = keys_Q[self._places_Q]

    def of(self, keys_B: Tensor | None) -> Tensor:
        """The items [B, R] of rows, the best first, PAD where there are fewer; on the keys' device.

        Raises:
            TrainingError: the batch has no keys, or one of a row whose top was not found.
        """
        keys = _keys(keys_B)
        places_B = np.minimum(np.searchsorted(self._keys_Q, keys), len(self._keys_Q) - 1)
        if not len(self._keys_Q) or (self._keys_Q[places_B] != keys).any():
            raise TrainingError("A training row came that was not there when the epoch began.", "Train again.")
        items_BR = torch.from_numpy(self._items_QR[self._places_Q[places_B]].astype(np.int64))
        return items_BR if keys_B is None else items_BR.to(keys_B.device)


def exact_top(context: Context, index: ItemIndex, size: int) -> npt.NDArray[np.int32]:
    """The `size` items [B, R] that the student scores highest, without known ones, as `Context.highest` finds them.

    Tile by tile, so that no scores of the catalogue are held; PAD where there are fewer.

    Args:
        index: of the context's items.
    """
    known_BX = context.known_BX.cpu().numpy()
    starts = np.arange(len(known_BX) + 1, dtype=np.int64) * known_BX.shape[1]
    known = starts, known_BX.ravel()
    return top_k(as_floats(context.users_BD), index, size, known, threads=torch.get_num_threads())[0]


def _keys(keys_B: Tensor | None) -> npt.NDArray[np.int64]:
    if keys_B is None:
        raise TrainingError("The training rows have no keys, which `refresh` needs.", "Set `refresh` to 0.")
    return np.asarray(keys_B.cpu().numpy(), np.int64)
