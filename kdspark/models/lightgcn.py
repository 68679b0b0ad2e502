"""LightGCN (He et al., SIGIR'20): user and item vectors, smoothed over the graph of who did what.

Vectors of layer k + 1 are A times those of layer k, A the symmetrically normalised adjacency of the graph, and what
scores is the mean of all layers. All of it is linear, and once trained it is done: `LightGCN` is the network in
training, `GraphFactors` the tables of smoothed vectors that it leaves.

Legend: U users, N items, V nodes = U + N (users first), B users of a batch, W history items, D dims.
"""

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from kdspark.config import LightGCNConfig
from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.closed_form import Factors
from kdspark.models.history import align_left, lookup
from kdspark.models.recommender import Recommender
from kdspark.tables import PAD

_START = 0.1  # standard deviation of the first vectors, as in the paper's code


class GraphFactors(Factors):
    """The smoothed vectors of users and items; new users are smoothed from their history.

    To a user u the network gives (e_u + sum over k >= 1 of A e^(k-1) at u) / (layers + 1). Only the first term is the
    user's own; a user who came later has none (e_u = 0), and the rest is

        d_u^-1/2 * sum of the messages of u's items,
        message_i = d_i^-1/2 * (e_i^(0) + ... + e_i^(layers-1)) / (layers + 1)

    with d the numbers of neighbours: one step through the graph, the items' vectors being those of training.

    Args:
        users_UD, items_ND: float32; zero rows for those without an edge.
        messages_ND: float32, as above.
        items: tonight's catalogue.
    """

    kind = "lightgcn"

    def __init__(self, users_UD: Tensor, items_ND: Tensor, messages_ND: Tensor, items: ItemTable) -> None:
        super().__init__(users_UD, items_ND, items)
        self.register_buffer("messages", messages_ND)

    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        own_BD = super().encode_users(batch, items_ND)
        trained_B = (own_BD != 0).any(dim=1)
        return torch.where(trained_B[:, None], own_BD, self._from_history(batch))

    def _from_history(self, batch: UserBatch) -> Tensor:
        items_BW, _ = align_left(batch.history, self.n_items, max(1, batch.history.shape[1]))
        sorted_BW = items_BW.sort(dim=1).values
        repeated_BW = torch.zeros_like(sorted_BW, dtype=torch.bool)
        repeated_BW[:, 1:] = sorted_BW[:, 1:] == sorted_BW[:, :-1]
        once_BW = torch.where(repeated_BW, PAD, sorted_BW)  # an edge is there, or it is not
        degree_B1 = (once_BW != PAD).sum(dim=1, keepdim=True).clamp(min=1)
        summed_BD: Tensor = lookup(self.get_buffer("messages"), once_BW).sum(dim=1)
        return summed_BD / degree_B1.sqrt()


class LightGCN(Recommender):
    """The network in training: the vectors of layer 0 are its weights. It answers as its `frozen` form does.

    Args:
        config: dimensions and layers.
        matrix_UN: binary CSR of who did what.
        items: tonight's catalogue.
        seed: of the first vectors; torch's global generator is left as it was.
    """

    kind = "lightgcn"

    def __init__(self, config: LightGCNConfig, matrix_UN: sp.csr_matrix, items: ItemTable, seed: int) -> None:
        n_users, n_items = matrix_UN.shape
        super().__init__(n_users, n_items, items)
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        self.vectors = nn.Parameter(torch.randn(n_users + n_items, config.dim, generator=generator) * _START)
        self.register_buffer("adjacency", _torch_csr(normalised_adjacency(matrix_UN)), persistent=False)
        degree_V = np.concatenate([np.diff(matrix_UN.indptr), np.bincount(matrix_UN.indices, minlength=n_items)])
        self.register_buffer("degree", torch.from_numpy(degree_V.astype(np.float32)), persistent=False)

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Smoothed vectors [V, D], and what of them is there without the last layer [V, D]; gradients flow."""
        layer_VD: Tensor = self.vectors
        total_VD = before_VD = layer_VD
        for _ in range(self.config.layers):
            layer_VD = _Product.apply(self.get_buffer("adjacency"), layer_VD)  # type: ignore[no-untyped-call]
            before_VD, total_VD = total_VD, total_VD + layer_VD
        share = 1 / (self.config.layers + 1)
        return total_VD * share, before_VD * share

    @torch.no_grad()
    def frozen(self) -> GraphFactors:
        """The tables that serve; whoever has no edge has a zero row."""
        smoothed_VD, before_VD = self.propagate()
        degree_V1 = self.get_buffer("degree")[:, None]
        smoothed_VD = smoothed_VD * (degree_V1 > 0)
        messages_VD = before_VD * torch.where(degree_V1 > 0, degree_V1.clamp(min=1).rsqrt(), 0.0)
        tables = (smoothed_VD[: self.n_users], smoothed_VD[self.n_users :], messages_VD[self.n_users :])
        users_UD, items_ND, messages_ND = (table.clone() for table in tables)
        return GraphFactors(users_UD, items_ND, messages_ND, self.item_table())

    def encode_items(self) -> Tensor:
        return self.frozen().encode_items()

    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        return self.frozen().encode_users(batch, items_ND)

    def encodable(self, batch: UserBatch) -> Tensor:
        return self.frozen().encodable(batch)

    def describe(self) -> dict[str, Any]:
        return self.frozen().describe()


class _Product(torch.autograd.Function):
    """A symmetric sparse matrix times a dense one; symmetric, so the gradient is one more such product."""

    @staticmethod
    def forward(ctx: Any, matrix_VV: Tensor, dense_VD: Tensor) -> Tensor:
        ctx.matrix_VV = matrix_VV
        return matrix_VV @ dense_VD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix_VV @ gradients[0]


def normalised_adjacency(matrix_UN: sp.csr_matrix) -> sp.csr_matrix:
    """A = D^-1/2 [[0, X], [X', 0]] D^-1/2 [V, V], float32, D the numbers of neighbours; rows without any stay empty."""
    degree_U = np.maximum(np.asarray(matrix_UN.sum(axis=1)).ravel(), 1)
    degree_N = np.maximum(np.asarray(matrix_UN.sum(axis=0)).ravel(), 1)
    scaled_UN = (sp.diags(degree_U**-0.5) @ matrix_UN @ sp.diags(degree_N**-0.5)).tocsr()
    return sp.bmat([[None, scaled_UN], [scaled_UN.T, None]], format="csr", dtype=np.float32)


def _torch_csr(matrix_VV: sp.csr_matrix) -> Tensor:
    matrix_VV.sort_indices()
    parts = (
        torch.from_numpy(matrix_VV.indptr.astype(np.int64)),
        torch.from_numpy(matrix_VV.indices.astype(np.int64)),
        torch.from_numpy(matrix_VV.data),
    )
    with warnings.catch_warnings():  # torch calls its CSR tensors a beta; of them only the product is used here
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        return torch.sparse_csr_tensor(*parts, size=matrix_VV.shape, check_invariants=True)
