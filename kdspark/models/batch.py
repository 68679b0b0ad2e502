"""What models read: a batch of users and the features of the whole catalogue, as plain tensors.

Legend: B users (or training positions) of a batch, L history length, C codes, F numbers, V vector, N items.
"""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from kdspark.tables import PAD


@dataclass(frozen=True)
class FeatureSizes:
    """Widths of one side's features: codes 0..n_codes-1 (0 is padding), F numbers, V vector entries."""

    n_codes: int = 1
    n_numbers: int = 0
    n_vector: int = 0


@dataclass(frozen=True)
class UserBatch:
    """B users.

    Args:
        user_idx: int64 [B]; -1, or at least the model's number of users: unknown.
        history: int64 [B, L] item_idx, oldest first, padded on the left with PAD. Items a model does not know count
            as PAD wherever they stand.
        codes: int64 [B, C], 0 is padding; C may be 0.
        numbers: float32 [B, F]; F may be 0.
        vector: float32 [B, V]; V may be 0.
    """

    user_idx: Tensor
    history: Tensor
    codes: Tensor
    numbers: Tensor
    vector: Tensor

    def __len__(self) -> int:
        return len(self.user_idx)

    def to(self, device: torch.device | str) -> "UserBatch":
        """The same batch on another device."""
        return UserBatch(*(tensor.to(device) for tensor in self._tensors()))

    def take(self, rows: slice | Tensor) -> "UserBatch":
        """Some of the users, in the order given."""
        return UserBatch(*(tensor[rows] for tensor in self._tensors()))

    def pad_to(self, rows: int) -> "UserBatch":
        """The batch followed by unknown users without history or features, `rows` in all.

        Batches of one fixed size make a user's vector independent of who shares the batch, to the last bit.
        """
        missing = rows - len(self)
        if missing <= 0:
            return self
        fills = (PAD, PAD, 0, 0, 0)
        padded = [
            torch.cat([tensor, tensor.new_full((missing, *tensor.shape[1:]), fill)])
            for tensor, fill in zip(self._tensors(), fills, strict=True)
        ]
        return UserBatch(*padded)

    @classmethod
    def from_numpy(
        cls,
        user_idx: npt.NDArray[Any],
        history: npt.NDArray[Any],
        codes: npt.NDArray[Any],
        numbers: npt.NDArray[Any],
        vector: npt.NDArray[Any],
    ) -> "UserBatch":
        """A batch from numpy arrays of these shapes, whatever integer or float type they have."""
        return cls(*_tensors((user_idx, history, codes), torch.int64), *_tensors((numbers, vector), torch.float32))

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.user_idx, self.history, self.codes, self.numbers, self.vector


@dataclass(frozen=True)
class ItemTable:
    """Features and event counts of the whole catalogue; row = item_idx.

    Args:
        codes: int64 [N, C], 0 is padding.
        numbers: float32 [N, F].
        vector: float32 [N, V].
        n_events: int64 [N]; an item without an event is never recommended.
    """

    codes: Tensor
    numbers: Tensor
    vector: Tensor
    n_events: Tensor

    def __len__(self) -> int:
        return len(self.n_events)

    @property
    def sizes(self) -> FeatureSizes:
        """Widths of the features, with as many codes as occur."""
        n_codes = int(self.codes.max()) + 1 if self.codes.numel() else 1
        return FeatureSizes(n_codes, self.numbers.shape[1], self.vector.shape[1])

    @classmethod
    def from_numpy(
        cls, codes: npt.NDArray[Any], numbers: npt.NDArray[Any], vector: npt.NDArray[Any], n_events: npt.NDArray[Any]
    ) -> "ItemTable":
        """A table from numpy arrays of these shapes, whatever integer or float type they have."""
        codes_t, events_t = _tensors((codes, n_events), torch.int64)
        numbers_t, vector_t = _tensors((numbers, vector), torch.float32)
        return cls(codes_t, numbers_t, vector_t, events_t)

    @classmethod
    def without_features(cls, n_events: npt.NDArray[Any]) -> "ItemTable":
        """A catalogue of which only the event counts are known."""
        (events_t,) = _tensors((n_events,), torch.int64)
        rows = len(events_t)
        return cls(torch.zeros(rows, 0, dtype=torch.int64), torch.zeros(rows, 0), torch.zeros(rows, 0), events_t)


def _tensors(arrays: tuple[npt.NDArray[Any], ...], dtype: torch.dtype) -> list[Tensor]:
    # torch.tensor copies: arrays that come from Arrow are read-only, and torch must never write into them.
    return [torch.tensor(array, dtype=dtype) for array in arrays]
