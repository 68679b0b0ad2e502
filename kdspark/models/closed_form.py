"""Models without gradient training: popularity, EASE with all its weights, and factor tables such as ALS.

Legend: U users, N items, B users of a batch, D dims, L history length, G Gram matrix.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from kdspark.config import EASEConfig
from kdspark.errors import ModelError
from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.history import has_known_item
from kdspark.models.item_item import history_weights
from kdspark.models.recommender import Recommender


class Popularity(Recommender):
    """One dimension: every user 1, every item its share of tonight's events."""

    kind = "popularity"

    def encode_items(self) -> Tensor:
        counts_N = self.get_buffer("n_events").to(torch.float64)
        return (counts_N / counts_N.sum().clamp(min=1)).to(torch.float32)[:, None]

    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        return torch.ones(len(batch), 1, device=items_ND.device)

    def encodable(self, batch: UserBatch) -> Tensor:
        return torch.ones(len(batch), dtype=torch.bool, device=batch.user_idx.device)

    @property
    def known_items(self) -> int:
        return self.n_catalogue

    @property
    def scores_new_items(self) -> bool:
        return True

    @property
    def n_params(self) -> int:
        """One count per item."""
        return self.n_catalogue

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "n_users": self.n_users, "n_items": self.n_items}


class Factors(Recommender):
    """User and item factor tables computed elsewhere (Spark MLlib's ALS).

    Args:
        users_UD, items_ND: float32 factors; a user without events has a zero row, and is not encodable.
        items: tonight's catalogue.
    """

    kind = "als"

    def __init__(self, users_UD: Tensor, items_ND: Tensor, items: ItemTable) -> None:
        super().__init__(len(users_UD), len(items_ND), items)
        self.register_buffer("user_factors", users_UD)
        self.register_buffer("item_factors", items_ND)

    @classmethod
    def from_numpy(cls, users_UD: npt.NDArray[Any], items_ND: npt.NDArray[Any], items: ItemTable) -> "Factors":
        """Raises ModelError where the factors are not finite."""
        if not (np.isfinite(users_UD).all() and np.isfinite(items_ND).all()):
            raise ModelError("The factors hold values that are not finite.", "Raise the regularisation and fit again.")
        return cls(torch.tensor(users_UD, dtype=torch.float32), torch.tensor(items_ND, dtype=torch.float32), items)

    def encode_items(self) -> Tensor:
        factors_ND = self.get_buffer("item_factors")
        new = self.n_catalogue - len(factors_ND)
        return torch.cat([factors_ND, factors_ND.new_zeros(new, factors_ND.shape[1])])

    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        known_B = (batch.user_idx >= 0) & (batch.user_idx < self.n_users)
        if self.n_users == 0:
            return items_ND.new_zeros(len(batch), items_ND.shape[1])
        return self.get_buffer("user_factors")[torch.where(known_B, batch.user_idx, 0)] * known_B[:, None]

    def encodable(self, batch: UserBatch) -> Tensor:
        table = self.get_buffer("user_factors")
        return (self.encode_users(batch, table) != 0).any(dim=1)

    def drop_item_side(self) -> None:
        self.item_factors = None

    def describe(self) -> dict[str, Any]:
        dim = self.get_buffer("user_factors").shape[1]
        return {"kind": self.kind, "n_users": self.n_users, "n_items": self.n_items, "dim": dim}


class EASE(Recommender):
    """Item-item weights B [N, N]; scores are x B with x the user's weighted multi-hot history (Steck, WWW'19).

    As an inner product: users are x [B, N], items the rows of B transposed. The n-th latest item weighs
    `recency_decay`**n in x.
    """

    kind = "ease"

    def __init__(self, config: EASEConfig, weights_NN: Tensor, n_users: int, items: ItemTable) -> None:
        super().__init__(n_users, len(weights_NN), items)
        self.config = config
        self.register_buffer("weights", weights_NN)

    def encode_items(self) -> Tensor:
        weights_NN = self.get_buffer("weights")
        new = self.n_catalogue - len(weights_NN)
        return torch.cat([weights_NN.T, weights_NN.new_zeros(new, len(weights_NN))])

    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        items_BL, weights_BL = history_weights(batch, self.n_items, self.config.recency_decay)
        # A repeated item counts once, by its latest event, as in the binary matrix of training.
        return items_ND.new_zeros(len(batch), self.n_items).scatter_reduce(
            1, items_BL.clamp(min=0), weights_BL, reduce="amax"
        )

    def encodable(self, batch: UserBatch) -> Tensor:
        return has_known_item(batch.history, self.n_items)

    def drop_item_side(self) -> None:
        self.weights = None

    def describe(self) -> dict[str, Any]:
        config = self.config.model_dump(mode="json")
        return {"kind": self.kind, "config": config, "n_users": self.n_users, "n_items": self.n_items}


def ease_bytes(n_items: int) -> int:
    """Least memory of fitting EASE: the Gram matrix, its regularised copy and its factor, float64 [N, N] each."""
    return 3 * 8 * n_items**2


def fit_ease(config: EASEConfig, gram_NN: npt.NDArray[np.float64], n_users: int, items: ItemTable) -> EASE:
    """Closed-form solution from the Gram matrix G = X'X: P = (G + l2 I)^-1, B = -P / diag(P), zero diagonal.

    Args:
        gram_NN: float64; see `gram`.

    Raises:
        ModelError: the matrix cannot be inverted.
    """
    n_items = len(gram_NN)
    regular_NN = torch.from_numpy(gram_NN).clone()
    regular_NN.diagonal().add_(config.l2)
    factor_NN, info = torch.linalg.cholesky_ex(regular_NN)
    if int(info) != 0:
        raise ModelError("EASE: the regularised Gram matrix is not positive definite.", "Raise `l2`.")
    inverse_NN = torch.cholesky_inverse(factor_NN)
    weights_NN = -inverse_NN / inverse_NN.diagonal()[None, :]
    weights_NN.fill_diagonal_(0.0)
    if len(items) < n_items:
        raise ModelError(f"The Gram matrix has {n_items} items, the item table {len(items)}.", "Rebuild both.")
    return EASE(config, weights_NN.to(torch.float32), n_users, items)


def gram(
    blocks: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]], n_items: int
) -> npt.NDArray[np.float64]:
    """G = X'X of the binary user-item matrix, from blocks of events, so that only one block is in memory.

    Args:
        blocks: (user_idx [E], item_idx [E]) of events; all events of a user are in one block. Items outside
            0..n_items-1 are skipped, repeats count once.

    Returns:
        float64 [N, N].
    """
    gram_NN = np.zeros((n_items, n_items))
    for users_E, items_E in blocks:
        known_E = (items_E >= 0) & (items_E < n_items)
        rows = np.unique(users_E[known_E], return_inverse=True)[1]
        shape = (int(rows.max(initial=-1)) + 1, n_items)
        matrix = sp.coo_matrix((np.ones(len(rows)), (rows, items_E[known_E])), shape=shape).tocsr()
        matrix.data[:] = 1.0
        gram_NN += (matrix.T @ matrix).toarray()
    return gram_NN
