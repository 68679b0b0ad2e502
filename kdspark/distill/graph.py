"""The objective of a graph model: it learns from the edges of its graph, all of which it propagates through per step.

Legend: U users, N items, V nodes, E edges, B edges of a step, S sampled items, D dims.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from kdspark.config import LightGCNConfig
from kdspark.distill.base import Objective
from kdspark.distill.batches import HARD, LOSS, ExampleBatch
from kdspark.distill.hard import LOG_SUM_BYTES, SCORES_BYTES, hard_loss
from kdspark.distill.losses import catalogue_log_sum
from kdspark.models.batch import UserBatch
from kdspark.models.lightgcn import LightGCN
from kdspark.ranking.hashing import splitmix64

_TABLES = 6
"""Tables as large as the vectors that a step holds at least: weights, gradient, two moments, a layer, their sum."""


class GraphObjective(Objective):
    """Softmax or BPR over the smoothed vectors of a batch of edges, plus the L2 penalty on their first vectors.

    Args:
        model: the network.
        edges: the graph it was made from, whose pairs are no negatives of BPR.
    """

    model: LightGCN

    def __init__(self, model: LightGCN, edges: "Edges") -> None:
        super().__init__(model, model.config.training)
        self.config: LightGCNConfig = model.config
        self.register_buffer("keys", torch.from_numpy(edges.keys()), persistent=False)

    def digest(self) -> str:
        """What is minimised: equal objectives, equal digests."""
        return f"graph:{self.config.digest()}:{len(self.get_buffer('keys'))}"

    def step_bytes(self, rows: int) -> int:
        """Least memory of a step with `rows` edges: the tables, and the scores of a softmax."""
        nodes = self.model.n_users + self.model.n_items
        drawn = self.training_config.negatives
        per_row = drawn * SCORES_BYTES if drawn else self.model.n_items * LOG_SUM_BYTES
        return _TABLES * 4 * nodes * self.config.dim + (0 if self.config.loss == "bpr" else rows * per_row)

    def forward(self, batch: ExampleBatch) -> dict[str, Tensor]:
        """{"loss", "hard"}: with and without the penalty; "hard" in nats."""
        smoothed_VD, _ = self.model.propagate()
        users_UD, items_ND = smoothed_VD[: self.model.n_users], smoothed_VD[self.model.n_users :]
        users_B, items_B = batch.users.user_idx, batch.targets[:, 0]
        users_BD = F.embedding(users_B, users_UD)
        nodes = [users_B, items_B + self.model.n_users]
        if self.config.loss == "bpr":
            others_B, usable_B = self._negatives(users_B)
            nodes.append(others_B + self.model.n_users)
            hard = bpr(users_BD, F.embedding(items_B, items_ND), F.embedding(others_B, items_ND), usable_B)
        else:
            if self.config.temperature is not None:
                users_BD, items_ND = F.normalize(users_BD) / self.config.temperature, F.normalize(items_ND)
            log_sum_B1 = catalogue_log_sum(users_BD, items_ND) if self.training_config.negatives == 0 else None
            hard = hard_loss(users_BD, items_ND, batch.targets, self.training_config, log_sum_B1=log_sum_B1)
        own = F.embedding(torch.cat(nodes), self.model.vectors)
        penalty = 0.5 * self.config.l2 * own.square().sum() / len(batch)
        return {LOSS: hard + penalty, HARD: hard.detach()}

    def _negatives(self, users_B: Tensor) -> tuple[Tensor, Tensor]:
        """A uniformly drawn item per edge [B], and whether its user has no edge to it [B]."""
        keys_E = self.get_buffer("keys")
        others_B = torch.randint(self.model.n_items, users_B.shape, device=users_B.device)
        wanted_B = users_B * self.model.n_items + others_B
        at_B = torch.searchsorted(keys_E, wanted_B).clamp(max=len(keys_E) - 1)
        return others_B, keys_E[at_B] != wanted_B


def bpr(users_BD: Tensor, items_BD: Tensor, others_BD: Tensor, usable_B: Tensor) -> Tensor:
    """-log sigmoid(score - score of the other item) in nats, the mean over usable rows (BPR, Rendle et al., UAI'09)."""
    margin_B = (users_BD * (items_BD - others_BD)).sum(dim=1)
    losses_B = torch.where(usable_B, F.softplus(-margin_B), 0.0)
    return losses_B.sum() / usable_B.sum().clamp(min=1)


class Edges:
    """The distinct (user, item) pairs of a binary matrix, as the batches of an epoch.

    Args:
        matrix_UN: binary CSR.
        batch_size: edges per step; the last step of an epoch may have fewer.
        seed: of the order.
    """

    def __init__(self, matrix_UN: sp.csr_matrix, batch_size: int, seed: int) -> None:
        self.batch_size, self.seed = batch_size, seed
        self.n_items = matrix_UN.shape[1]
        rows = matrix_UN.tocoo()
        self.users_E, self.items_E = rows.row.astype(np.int64), rows.col.astype(np.int64)

    def __len__(self) -> int:
        return len(self.users_E)

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return -(-len(self) // self.batch_size)

    def keys(self) -> npt.NDArray[np.int64]:
        """user * N + item of every edge, ascending."""
        return np.sort(self.users_E * self.n_items + self.items_E)

    def epoch(self, number: int) -> Iterator[ExampleBatch]:
        """All edges in an order that depends on the seed and the epoch's number alone; one target per row."""
        rng = np.random.default_rng(int(splitmix64(number, self.seed)))
        order_E = rng.permutation(len(self))
        for start in range(0, len(order_E), self.batch_size):
            part_B = order_E[start : start + self.batch_size]
            nothing = np.empty((len(part_B), 0))
            users = UserBatch.from_numpy(self.users_E[part_B], nothing, nothing, nothing, nothing)
            yield ExampleBatch(users, torch.from_numpy(self.items_E[part_B][:, None]))
