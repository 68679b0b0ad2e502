"""User encoders: what a model knows of a user without looking at items' ids: own vector, history, features.

Each maps a batch and item vectors without bias to user vectors [B, D], and says whom it knows.

Legend: B users, L history length, W window, N items, D dims.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdspark.models.batch import FeatureSizes, UserBatch
from kdspark.models.dropout import Dropout
from kdspark.models.features import FeatureTower
from kdspark.models.history import align_left, align_right, at_last, drop_items, has_known_item, lookup
from kdspark.tables import PAD

_RIDGE = 1e-2
"""Of the mean eigenvalue of V'V: enough to be solvable where an item dimension is not used."""
_SMALLEST = 1e-9


class UserEncoder(nn.Module, ABC):
    """Base: one part of a user's vector. `known_items` is given with each call, since the catalogue grows."""

    @abstractmethod
    def forward(self, batch: UserBatch, items_ND: Tensor, known_items: int) -> Tensor:
        """[B, D]; zero for a user this part knows nothing of."""

    @abstractmethod
    def knows(self, batch: UserBatch, known_items: int) -> Tensor:
        """bool [B]."""


class IdEncoder(UserEncoder):
    """A free vector per user (matrix factorisation); a user without one is folded in from its history.

    Folding in solves the ridge regression of the user's history, as a 0/1 row, on the item vectors V,
    u = (V'V + l I)^-1 sum of the history's vectors (Hu et al., ICDM'08, with equal weights), and gives it the mean
    length of the trained vectors, so that it stands against the item biases as theirs do.
    """

    def __init__(self, n_users: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.n_users = n_users
        self.table = nn.Embedding(n_users, dim, sparse=True)  # a step must not cost the whole table
        self.dropout = Dropout(dropout)
        self._mean_length: float | None = None
        # Zero: whoever has no training row stays zero, and is folded in. Item vectors are random, so gradients flow.
        nn.init.zeros_(self.table.weight)

    def forward(self, batch: UserBatch, items_ND: Tensor, known_items: int) -> Tensor:
        inside_B = self._inside(batch)
        own_BD: Tensor = self.dropout(self.table(torch.where(inside_B, batch.user_idx, 0))) * inside_B[:, None]
        if self.training:
            return own_BD
        return torch.where(self._trained(batch)[:, None], own_BD, self.fold_in(batch, items_ND, known_items))

    def knows(self, batch: UserBatch, known_items: int) -> Tensor:
        return self._trained(batch) | has_known_item(batch.history, known_items)

    def _trained(self, batch: UserBatch) -> Tensor:
        inside_B = self._inside(batch)
        return inside_B & (self.table.weight[torch.where(inside_B, batch.user_idx, 0)] != 0).any(dim=1)

    def _inside(self, batch: UserBatch) -> Tensor:
        return (batch.user_idx >= 0) & (batch.user_idx < self.n_users)

    def fold_in(self, batch: UserBatch, items_ND: Tensor, known_items: int) -> Tensor:
        """Vectors [B, D] by the histories alone; zero for a user without a known item."""
        items_BW, _ = align_left(batch.history, known_items, max(1, batch.history.shape[1]))
        summed_BD = lookup(items_ND, items_BW).sum(dim=1)
        gram_DD = items_ND.T @ items_ND
        ridge = _RIDGE * gram_DD.diagonal().mean().clamp(min=_SMALLEST)
        regular_DD = gram_DD + ridge * torch.eye(len(gram_DD), device=gram_DD.device)
        folded_BD: Tensor = torch.linalg.solve(regular_DD, summed_BD.T).T
        return F.normalize(folded_BD, dim=1, eps=_SMALLEST) * self._length()

    def _length(self) -> float:
        """Mean length of the trained vectors, read once until training moves them: a batch must not cost the table."""
        if self._mean_length is None:
            lengths_U: Tensor = torch.linalg.vector_norm(self.table.weight.detach(), dim=1)
            self._mean_length = float(lengths_U.sum() / (lengths_U > 0).sum().clamp(min=1))
        return self._mean_length

    def train(self, mode: bool = True) -> "IdEncoder":
        self._mean_length = None
        return super().train(mode)


class HistoryEncoder(UserEncoder):
    """Base of the encoders that read the latest `window` items, optionally dropping some in training."""

    def __init__(self, window: int, input_dropout: float) -> None:
        super().__init__()
        self.window, self.input_dropout = window, input_dropout

    def knows(self, batch: UserBatch, known_items: int) -> Tensor:
        return has_known_item(batch.history, known_items)

    def inputs(self, batch: UserBatch, known_items: int) -> tuple[Tensor, Tensor]:
        """Left-aligned items [B, W] and lengths [B]."""
        items_BW, lengths_B = align_left(batch.history, known_items, self.window)
        return drop_items(items_BW, lengths_B, self.input_dropout, self.training), lengths_B


class BagEncoder(HistoryEncoder):
    """Weighted sum of the history's item vectors, then a residual linear map.

    Each dimension has a weight per recency of its own (a depthwise convolution over the whole window), so that some
    dimensions can follow what a user is after now, and others what the user has always liked. The sum is divided by
    the square root of the weights' sum (between a sum and a mean, as FISM's alpha = 1/2, Kabbur et al., KDD'13), so
    that longer histories speak louder, but not in proportion.
    """

    def __init__(self, dim: int, window: int, dropout: float, input_dropout: float) -> None:
        super().__init__(window, input_dropout)
        # log-weight of the n-th latest item in each dimension; starts as a gentle decay
        decay_W1 = -torch.arange(window, dtype=torch.float32)[:, None] / window
        self.log_weights = nn.Parameter(decay_W1.repeat(1, dim))
        self.mix = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        nn.init.zeros_(self.mix.bias)

    def forward(self, batch: UserBatch, items_ND: Tensor, known_items: int) -> Tensor:
        items_BW, lengths_B = self.inputs(batch, known_items)
        width = items_BW.shape[1]
        column_BW = lengths_B[:, None] - 1 - torch.arange(width, device=items_BW.device)
        present_BW = column_BW >= 0
        latest_first_BW = torch.where(present_BW, items_BW.gather(1, column_BW.clamp(min=0)), PAD)
        weights_WD = self.log_weights[:width].exp()
        summed_BD = torch.einsum("bwd,wd->bd", lookup(items_ND, latest_first_BW), weights_WD)
        total_BD = present_BW.to(weights_WD.dtype) @ weights_WD
        bag_BD = self.dropout(summed_BD / total_BD.clamp(min=1e-6).sqrt())
        out: Tensor = bag_BD + self.mix(bag_BD)
        return out * (lengths_B > 0)[:, None]


class SequenceEncoder(HistoryEncoder):
    """A causal network over the history; its vector at the last item stands for the user."""

    def __init__(self, network: nn.Module, window: int, dropout: float, input_dropout: float) -> None:
        super().__init__(window, input_dropout)
        self.network = network
        self.dropout = Dropout(dropout)

    def forward(self, batch: UserBatch, items_ND: Tensor, known_items: int) -> Tensor:
        items_BW, lengths_B = self.inputs(batch, known_items)
        out: Tensor = self.dropout(at_last(self.network(lookup(items_ND, items_BW)), lengths_B))
        return out

    def positions(self, batch: UserBatch, items_ND: Tensor, known_items: int) -> Tensor:
        """Vectors after each item [B, W, D], aligned with the last W columns of the history; zero at PAD."""
        items_BW, _ = self.inputs(batch, known_items)
        positions_BWD = self.dropout(self.network(lookup(items_ND, items_BW)))
        return align_right(positions_BWD, batch.history, known_items)


class TwoTowerEncoder(HistoryEncoder):
    """Bag of recent items and user features through one MLP (Covington et al., RecSys'16)."""

    def __init__(
        self, dim: int, window: int, hidden: int, sizes: FeatureSizes | None, dropout: float, input_dropout: float
    ) -> None:
        super().__init__(window, input_dropout)
        self.bag = BagEncoder(dim, window, 0.0, input_dropout)
        self.tower = FeatureTower(sizes, dim) if sizes else None
        width = dim * (2 if self.tower else 1)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), Dropout(dropout), nn.Linear(hidden, dim))
        self.dropout = Dropout(dropout)

    def forward(self, batch: UserBatch, items_ND: Tensor, known_items: int) -> Tensor:
        bag_BD = self.bag(batch, items_ND, known_items)
        parts = [bag_BD]
        if self.tower is not None:
            parts.append(self.tower(batch.codes, batch.numbers, batch.vector))
        out: Tensor = bag_BD + self.mlp(self.dropout(torch.cat(parts, dim=1)))
        return out
