"""A model among other items answers as it did, for what both catalogues know."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kdspark.config import BagConfig, GRUConfig, TwoTowerConfig
from kdspark.errors import ModelError
from kdspark.models.batch import FeatureSizes, ItemTable, UserBatch
from kdspark.models.build import build_model
from kdspark.models.neural import NeuralRecommender
from kdspark.models.transfer import Pairs, transfer

THERE, HERE = 9, 7
ITEMS = Pairs(torch.tensor([8, 1, 4, 6]), torch.tensor([0, 2, 3, 6]))
CODES = Pairs(torch.tensor([3, 1]), torch.tensor([1, 4]))
CODE_HERE = {3: 1, 1: 4}
NOTHING = Pairs(torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64))


def catalogues() -> tuple[ItemTable, ItemTable]:
    """Items known to both have the same features; code 2 is only there, 2 and 3 are only here."""
    rng = np.random.default_rng(0)
    codes, numbers = rng.choice([1, 3], (THERE, 2)), rng.normal(size=(THERE, 3)).astype(np.float32)
    codes[0] = 2
    codes_here = rng.choice([2, 3], (HERE, 2))
    numbers_here = rng.normal(size=(HERE, 3)).astype(np.float32)
    for there, here in zip(*ITEMS, strict=True):
        codes_here[here] = [CODE_HERE[code] for code in codes[there]]
        numbers_here[here] = numbers[there]
    tables = []
    for rows, code, number in ((THERE, codes, numbers), (HERE, codes_here, numbers_here)):
        tables.append(ItemTable.from_numpy(code, number, np.zeros((rows, 0), np.float32), rng.integers(1, 9, rows)))
    return tables[0], tables[1]


def users(histories: Tensor) -> UserBatch:
    empty = torch.zeros(len(histories), 0)
    return UserBatch(torch.arange(len(histories)), histories, empty.long(), empty, empty)


def scores(model: NeuralRecommender, histories: Tensor) -> Tensor:
    with torch.no_grad():
        return model.eval().score_users(users(histories), model.encode_items())


def moved(config: BagConfig | GRUConfig | TwoTowerConfig) -> tuple[NeuralRecommender, NeuralRecommender]:
    there, here = catalogues()
    old = build_model(config, 5, THERE, there, FeatureSizes(), seed=1)
    new = build_model(config, 3, HERE, here, FeatureSizes(), seed=2)
    assert isinstance(old, NeuralRecommender)
    assert isinstance(new, NeuralRecommender)
    transfer(old, new, ITEMS, CODES)
    return old, new


@pytest.mark.parametrize("config", [BagConfig(dim=4), GRUConfig(dim=4, item_features=True), TwoTowerConfig(dim=4)])
def test_histories_of_common_items_are_answered_as_before(config: BagConfig | GRUConfig | TwoTowerConfig) -> None:
    old, new = moved(config)
    rows = torch.tensor([[0, 1, 2], [3, 0, 1], [2, 2, 3]])
    then, now = scores(old, ITEMS.there[rows]), scores(new, ITEMS.here[rows])
    torch.testing.assert_close(now[:, ITEMS.here], then[:, ITEMS.there])
    assert then[:, ITEMS.there].std() > 0


def test_unknown_items_are_average_ones_and_unknown_categories_say_nothing() -> None:
    old, new = moved(GRUConfig(dim=4, item_features=True))
    before, after = old.state_dict(), new.state_dict()
    name = "item_encoder.ids.weight"
    known_MD = before[name][ITEMS.there]
    torch.testing.assert_close(after[name][[1, 4, 5], :-1], known_MD[:, :-1].mean(0).expand(3, -1))
    here = catalogues()[1]
    logs = (here.n_events.float() + 1).log()
    fresh = logs - logs.mean()
    shift = (known_MD[:, -1] - fresh[ITEMS.here]).mean()
    torch.testing.assert_close(after[name][[1, 4, 5], -1], (fresh + shift)[[1, 4, 5]])
    codes = after["item_encoder.tower.codes.weight"]
    assert not codes[[0, 2, 3]].any()
    assert torch.equal(codes[[1, 4]], before["item_encoder.tower.codes.weight"][[3, 1]])


def test_what_does_not_fit_is_refused() -> None:
    there, here = catalogues()
    old = build_model(GRUConfig(dim=4), 5, THERE, there, FeatureSizes(), seed=1)
    wider = build_model(GRUConfig(dim=4, hidden=6), 5, HERE, here, FeatureSizes(), seed=1)
    assert isinstance(old, NeuralRecommender)
    assert isinstance(wider, NeuralRecommender)
    with pytest.raises(ModelError, match=r"user_encoder\..* here and "):
        transfer(old, wider, ITEMS, CODES)
    with pytest.raises(ModelError, match="No item is known"):
        transfer(old, old, NOTHING, CODES)


@pytest.mark.parametrize("item_ids", [True, False])
def test_without_an_item_in_common_equal_features_are_equal_items(item_ids: bool) -> None:
    there, here = catalogues()
    config = GRUConfig(dim=4, item_features=True, item_ids=item_ids)
    old = build_model(config, 5, THERE, there, FeatureSizes(), seed=1)
    new = build_model(config, 3, HERE, here, FeatureSizes(), seed=2)
    assert isinstance(old, NeuralRecommender)
    assert isinstance(new, NeuralRecommender)
    transfer(old, new, NOTHING, CODES)
    before, after = old.state_dict(), new.state_dict()
    by_features = [name for name in before if "tower" in name and "codes" not in name]
    assert by_features
    assert all(torch.equal(before[name], after[name]) for name in by_features)
    with torch.no_grad():
        then, now = old.encode_items()[ITEMS.there], new.encode_items()[ITEMS.here]
    if item_ids:  # what an id adds is the same for all of them
        ids = before["item_encoder.ids.weight"]
        then = then - ids[ITEMS.there] + ids.mean(dim=0)
    torch.testing.assert_close(now[:, :-1], then[:, :-1])
