"""Item-item models with few weights per item: scores are a sparse history times a sparse matrix.

Legend: B users, L history length, N items, W weights.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kdspark.config import ItemItemConfig
from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.history import align_left, has_known_item, position_mask
from kdspark.models.recommender import Recommender


class ItemItem(Recommender):
    """Scores x W with x the user's weighted history and W sparse [N, N]; computed on the CPU.

    Args:
        config: EASE or GF-CF; gives the weights of the history.
        weights_NN: CSR, float32.
        n_users: size of the vocabulary; users have no weights.
        items: tonight's catalogue.
    """

    def __init__(self, config: ItemItemConfig, weights_NN: sp.csr_matrix, n_users: int, items: ItemTable) -> None:
        super().__init__(n_users, weights_NN.shape[0], items)
        self.config = config
        self.kind = str(config.model_dump()["kind"])
        self.register_buffer("starts", torch.tensor(weights_NN.indptr, dtype=torch.int64))
        self.register_buffer("columns", torch.tensor(weights_NN.indices, dtype=torch.int32))
        self.register_buffer("weights", torch.tensor(weights_NN.data, dtype=torch.float32))

    @classmethod
    def empty(cls, config: ItemItemConfig, n_items: int, n_weights: int, n_users: int, items: ItemTable) -> "ItemItem":
        """A model of the right sizes, its weights still to be loaded."""
        indptr = np.full(n_items + 1, n_weights)
        indptr[0] = 0
        shell = sp.csr_matrix((n_items, n_items), dtype=np.float32)
        shell.data, shell.indices, shell.indptr = np.zeros(n_weights, np.float32), np.zeros(n_weights, np.int32), indptr
        return cls(config, shell, n_users, items)

    @property
    def factorised(self) -> bool:
        return False

    def encode_items(self) -> Tensor:
        return torch.zeros(self.n_catalogue, 0)

    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        return torch.zeros(len(batch), 0)

    def score_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        known_BN = history_matrix(batch, self.n_items, self.config.recency_decay) @ self._matrix()
        scores_BN = torch.zeros(len(batch), self.n_catalogue)
        scores_BN[:, : self.n_items] = torch.from_numpy(known_BN.toarray())
        return scores_BN.to(batch.history.device)

    def encodable(self, batch: UserBatch) -> Tensor:
        return has_known_item(batch.history, self.n_items)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "config": self.config.model_dump(mode="json"),
            "n_users": self.n_users,
            "n_items": self.n_items,
            "n_weights": len(self.get_buffer("weights")),
        }

    def _matrix(self) -> sp.csr_matrix:
        parts = (self.get_buffer(name).cpu().numpy() for name in ("weights", "columns", "starts"))
        return sp.csr_matrix(tuple(parts), shape=(self.n_items, self.n_items), copy=False)


def history_weights(batch: UserBatch, known_items: int, decay: float) -> tuple[Tensor, Tensor]:
    """Known items of each history, oldest first, then PAD, and decay**n for the n-th latest, 0 for PAD; [B, L] each."""
    items_BL, lengths_B = align_left(batch.history, known_items, max(1, batch.history.shape[1]))
    width = items_BL.shape[1]
    recency_BL = (lengths_B[:, None] - 1 - torch.arange(width, device=items_BL.device)).clamp(min=0)
    return items_BL, decay ** recency_BL.to(torch.float32) * position_mask(lengths_B, width)


def history_matrix(batch: UserBatch, known_items: int, decay: float) -> sp.csr_matrix:
    """Histories as CSR [B, known_items], float32; a repeated item counts once, by its latest event."""
    items_BL, weights_BL = (t.cpu().numpy() for t in history_weights(batch, known_items, decay))
    rows, columns = np.nonzero(weights_BL)
    keys = rows[::-1].astype(np.int64) * known_items + items_BL[rows, columns][::-1]
    kept, first = np.unique(keys, return_index=True)  # latest events come first
    values = weights_BL[rows, columns][::-1][first]
    shape = (len(items_BL), known_items)
    return sp.csr_matrix((values, (kept // known_items, kept % known_items)), shape=shape, dtype=np.float32)
