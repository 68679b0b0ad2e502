"""Models trained by gradient: an item encoder, a user encoder, and optionally a tower of user features.

Legend: B users, L history length, W window, N items, D = dim + 1 (the last dimension is the item bias).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdspark.config import (
    BagConfig,
    CNNConfig,
    GRUConfig,
    LSTMConfig,
    MFConfig,
    TrainableConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from kdspark.errors import ModelError
from kdspark.models.attention import Attentive
from kdspark.models.batch import FeatureSizes, ItemTable, UserBatch
from kdspark.models.features import FeatureTower, has_features
from kdspark.models.gather import first_columns
from kdspark.models.items import ItemEncoder
from kdspark.models.lengths import by_length
from kdspark.models.recommender import Recommender
from kdspark.models.sequence import Convolutional, Recurrent
from kdspark.models.users import BagEncoder, IdEncoder, SequenceEncoder, TwoTowerEncoder, UserEncoder


class NeuralRecommender(Recommender):
    """Any trainable model of the configuration.

    Args:
        config: which encoders, and their sizes.
        n_users, n_items: rows of the id tables.
        items: tonight's catalogue.
        user_sizes: widths of the user features in training.
        item_sizes: widths of the item features in training; None: those of `items`.
    """

    def __init__(
        self,
        config: TrainableConfig,
        n_users: int,
        n_items: int,
        items: ItemTable,
        user_sizes: FeatureSizes,
        item_sizes: FeatureSizes | None = None,
    ) -> None:
        super().__init__(n_users, n_items, items)
        self.config, self.user_sizes = config, user_sizes
        self.item_sizes = item_sizes or items.sizes
        self.kind = config.kind
        hidden = config.hidden if isinstance(config, TwoTowerConfig) else None
        self.item_encoder: ItemEncoder | None = ItemEncoder(
            n_items, config.dim, items, self.item_sizes, config.item_ids, config.item_features, hidden
        )
        self.user_encoder = _user_encoder(config, n_users, user_sizes)
        two_tower = isinstance(config, TwoTowerConfig)  # has its user features inside
        self.user_tower = FeatureTower(user_sizes, config.dim) if config.user_features and not two_tower else None
        self.causal = isinstance(self.user_encoder, SequenceEncoder)

    @property
    def known_items(self) -> int:
        return self.n_catalogue if self.config.item_features else self.n_items

    @property
    def scores_new_items(self) -> bool:
        return self.config.item_features

    def encode_items(self) -> Tensor:
        if self.item_encoder is None:
            raise ModelError("This model was loaded from a serving bundle, without its item side.", "Use its items_ND.")
        out: Tensor = self.item_encoder(self.item_table())
        return out

    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        users_BD = self.user_encoder(batch, first_columns(items_ND, self.config.dim), self.known_items)
        if self.user_tower is not None:
            users_BD = users_BD + self.user_tower(batch.codes, batch.numbers, batch.vector)
        return F.pad(users_BD, (0, 1), value=1.0)

    def serve_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        if items_ND.device.type != "cpu" or not isinstance(self.config, TransformerConfig):
            return self.encode_users(batch, items_ND)
        return by_length(lambda users: self.encode_users(users, items_ND), batch)

    def encode_positions(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        if not isinstance(self.user_encoder, SequenceEncoder):
            return super().encode_positions(batch, items_ND)
        positions_BWD = self.user_encoder.positions(batch, first_columns(items_ND, self.config.dim), self.known_items)
        if self.user_tower is not None:
            positions_BWD = positions_BWD + self.user_tower(batch.codes, batch.numbers, batch.vector)[:, None]
        known_BW = _known_columns(batch.history, self.known_items, positions_BWD.shape[1])
        return F.pad(positions_BWD, (0, 1), value=1.0) * known_BW[..., None]

    def encodable(self, batch: UserBatch) -> Tensor:
        known_B = self.user_encoder.knows(batch, self.known_items)
        if self.config.user_features:
            known_B = known_B | has_features(batch.codes, batch.numbers, batch.vector)
        return known_B

    def drop_item_side(self) -> None:
        self.item_encoder = None

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "config": self.config.model_dump(mode="json"),
            "n_users": self.n_users,
            "n_items": self.n_items,
            "user_sizes": vars(self.user_sizes),
            "item_sizes": vars(self.item_sizes),
        }


def _known_columns(history_BL: Tensor, known_items: int, width: int) -> Tensor:
    if history_BL.shape[1] == 0:
        return torch.zeros(len(history_BL), width, dtype=torch.bool, device=history_BL.device)
    latest_BW = history_BL[:, -width:]
    return (latest_BW >= 0) & (latest_BW < known_items)


def _user_encoder(config: TrainableConfig, n_users: int, user_sizes: FeatureSizes) -> UserEncoder:
    if isinstance(config, MFConfig):
        return IdEncoder(n_users, config.dim, config.dropout)
    if isinstance(config, BagConfig):
        return BagEncoder(config.dim, config.history_length, config.dropout, config.input_dropout)
    if isinstance(config, TwoTowerConfig):
        sizes = user_sizes if config.user_features else None
        return TwoTowerEncoder(
            config.dim, config.history_length, config.hidden, sizes, config.dropout, config.input_dropout
        )
    return SequenceEncoder(_network(config), config.history_length, config.dropout, config.input_dropout)


def _network(config: GRUConfig | LSTMConfig | CNNConfig | TransformerConfig) -> nn.Module:
    dim, layers, dropout = config.dim, config.layers, config.dropout
    if isinstance(config, GRUConfig | LSTMConfig):
        cell = nn.GRU if isinstance(config, GRUConfig) else nn.LSTM
        return Recurrent(cell, dim, config.hidden or dim, layers, dropout)
    if isinstance(config, CNNConfig):
        return Convolutional(dim, config.bottleneck or max(1, dim // 2), config.kernel, layers, dropout)
    return Attentive(dim, config.history_length, layers, config.heads, dropout)
