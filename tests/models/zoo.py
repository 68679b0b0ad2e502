"""One small fitted instance of every kind of model, and batches to feed them."""

from collections.abc import Callable

import numpy as np
import torch

from kdspark.config import (
    AgreementConfig,
    BagConfig,
    CNNConfig,
    EASEConfig,
    GFCFConfig,
    GRUConfig,
    LightGCNConfig,
    LSTMConfig,
    MFConfig,
    MixtureConfig,
    PopularityConfig,
    TrainableConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from kdspark.models.batch import FeatureSizes, ItemTable, UserBatch
from kdspark.models.build import build_model
from kdspark.models.closed_form import Factors, fit_ease, gram
from kdspark.models.ensemble import Ensemble
from kdspark.models.item_item import ItemItem
from kdspark.models.item_weights import ease_weights, gfcf_weights, interaction_matrix
from kdspark.models.lightgcn import LightGCN
from kdspark.models.recommender import Recommender
from kdspark.models.weighing import Agreement, Gate
from kdspark.tables import PAD

N_USERS, N_ITEMS, LENGTH = 7, 30, 9
USER_SIZES = FeatureSizes(n_codes=6, n_numbers=2, n_vector=3)

CAUSAL: dict[str, TrainableConfig] = {
    "gru": GRUConfig(dim=8, hidden=12, dropout=0.1, history_length=6),
    "lstm": LSTMConfig(dim=8, layers=2, dropout=0.1, history_length=6, item_features=True),
    "cnn": CNNConfig(dim=8, layers=2, dropout=0.1, history_length=6, user_features=True),
    "transformer": TransformerConfig(dim=8, heads=2, dropout=0.1, history_length=6, item_features=True),
}
TRAINABLE: dict[str, TrainableConfig] = {
    "mf": MFConfig(dim=8, dropout=0.1),
    "mf_features": MFConfig(dim=8, user_features=True, item_features=True),
    "bag": BagConfig(dim=8, dropout=0.1, history_length=6, input_dropout=0.2),
    "bag_features_only": BagConfig(dim=8, history_length=6, item_ids=False, item_features=True),
    "two_tower": TwoTowerConfig(dim=8, hidden=16, history_length=6, dropout=0.1),
    "two_tower_history_only": TwoTowerConfig(dim=8, hidden=16, user_features=False),
    **CAUSAL,
}


def items(n_items: int = N_ITEMS, seed: int = 0) -> ItemTable:
    """A catalogue with features; item 3 has no event."""
    rng = np.random.default_rng(seed)
    n_events = rng.integers(1, 50, n_items)
    n_events[3] = 0
    return ItemTable.from_numpy(
        rng.integers(0, 5, (n_items, 4)), rng.normal(size=(n_items, 2)), rng.normal(size=(n_items, 3)), n_events
    )


def batch(rows: int = 5, length: int = LENGTH, seed: int = 1) -> UserBatch:
    """Users 0..rows-1 with histories of various lengths; the last one has no history at all."""
    rng = np.random.default_rng(seed)
    history = rng.integers(0, N_ITEMS, (rows, length))
    for row in range(rows):
        history[row, : min(length, row * 2)] = PAD
    history[-1] = PAD
    return UserBatch.from_numpy(
        np.arange(rows),
        history,
        rng.integers(1, 6, (rows, 2)),
        rng.normal(size=(rows, 2)),
        rng.normal(size=(rows, 3)),
    )


def unknown_user(length: int = LENGTH) -> UserBatch:
    """A user nothing is known of, and one whose history holds only items that no model knows."""
    users = batch(2, length)
    history = torch.full_like(users.history, PAD)
    history[1, -2:] = 10_000
    return UserBatch(
        torch.tensor([-1, 10_000]), history, torch.zeros_like(users.codes), users.numbers * 0, users.vector * 0
    )


def _trainable(config: TrainableConfig) -> Recommender:
    model = build_model(config, N_USERS, N_ITEMS, items(), USER_SIZES, seed=5)
    if isinstance(config, MFConfig):  # free user vectors start at zero; give them something to say
        table = model.get_parameter("user_encoder.table.weight")
        torch.nn.init.normal_(table, generator=torch.Generator().manual_seed(6))
    return model.eval()


def _popularity() -> Recommender:
    return build_model(PopularityConfig(), N_USERS, N_ITEMS, items(), USER_SIZES, seed=0).eval()


def _als() -> Recommender:
    rng = np.random.default_rng(3)
    return Factors.from_numpy(rng.normal(size=(N_USERS, 4)), rng.normal(size=(N_ITEMS, 4)), items()).eval()


def _lightgcn() -> Recommender:
    rng = np.random.default_rng(8)
    matrix = interaction_matrix([(np.repeat(np.arange(N_USERS), 6), rng.integers(0, N_ITEMS, 42))], N_USERS, N_ITEMS)
    return LightGCN(LightGCNConfig(dim=8, layers=2), matrix, items(), seed=1).frozen().eval()


def _ease(decay: float = 0.9) -> Recommender:
    histories = np.random.default_rng(4).integers(0, N_ITEMS, (40, 6))
    return fit_ease(
        EASEConfig(l2=5.0, recency_decay=decay),
        gram([(np.repeat(np.arange(40), 6), histories.ravel())], N_ITEMS),
        N_USERS,
        items(),
    ).eval()


def _pruned(config: EASEConfig | GFCFConfig) -> Recommender:
    histories = np.random.default_rng(4).integers(0, N_ITEMS, (40, 6))
    matrix = interaction_matrix([(np.repeat(np.arange(40), 6), histories.ravel())], 40, N_ITEMS)
    assert config.keep is not None
    if isinstance(config, GFCFConfig):
        weights = gfcf_weights(config, matrix, config.keep, seed=0)
    else:
        weights = ease_weights(config, matrix, config.keep)
    return ItemItem(config, weights, N_USERS, items()).eval()


def _ensemble() -> Recommender:
    return Ensemble([_trainable(CAUSAL["transformer"]), _ease(), _als()], [1.0, 0.5, 0.25], items()).eval()


def _gate() -> Gate:
    gate = Gate(MixtureConfig(top=5, items=20), members=3)
    generator = torch.Generator().manual_seed(7)
    gate.load_state_dict(
        {name: torch.rand(t.shape, generator=generator) + 0.5 for name, t in gate.state_dict().items()}
    )
    return gate


def _by_gate(second: Recommender) -> Recommender:
    return Ensemble([_trainable(CAUSAL["gru"]), second, _lightgcn()], [1.0, 0.5, 0.25], items(), _gate()).eval()


def _trainable_factory(name: str) -> Callable[[], Recommender]:
    return lambda: _trainable(TRAINABLE[name])


ZOO: dict[str, Callable[[], Recommender]] = {
    **{name: _trainable_factory(name) for name in TRAINABLE},
    "popularity": _popularity,
    "als": _als,
    "lightgcn": _lightgcn,
    "ease": _ease,
    "ease_pruned": lambda: _pruned(EASEConfig(l2=5.0, keep=12, recency_decay=0.9)),
    "gfcf": lambda: _pruned(GFCFConfig(rank=4, keep=20)),
    "ensemble": _ensemble,
    "ensemble_of_scores": lambda: Ensemble(
        [_trainable(CAUSAL["gru"]), _pruned(GFCFConfig(rank=4, keep=20)), _als()], [1.0, 0.5, 0.25], items()
    ).eval(),
    "ensemble_by_agreement": lambda: Ensemble(
        [_trainable(CAUSAL["transformer"]), _ease(), _als()],
        [1.0, 0.5, 0.25],
        items(),
        Agreement(AgreementConfig(top=8, items=20)),
    ).eval(),
    "ensemble_by_gate": lambda: _by_gate(_als()),
    "ensemble_by_gate_of_scores": lambda: _by_gate(_pruned(GFCFConfig(rank=4, keep=20))),
}
