"""A grown model knows what the old one knew, and begins sensibly with what is new."""

import pytest
import torch

from kdspark.config import MFConfig, TrainableConfig
from kdspark.errors import ModelError
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.build import build_model
from kdspark.models.growth import grow
from kdspark.models.neural import NeuralRecommender
from tests.models import zoo

MORE_USERS, MORE_ITEMS = zoo.N_USERS + 3, zoo.N_ITEMS + 4


def catalogue(n_items: int = MORE_ITEMS) -> ItemTable:
    """Tonight's, in which the old items look as they did."""
    old, new = zoo.items(), zoo.items(n_items, seed=8)
    parts = ("codes", "numbers", "vector", "n_events")
    return ItemTable(*(torch.cat([getattr(old, p), getattr(new, p)[zoo.N_ITEMS :]]) for p in parts))


def trained(name: str) -> NeuralRecommender:
    """Weights that none was built with."""
    model = zoo.ZOO[name]()
    assert isinstance(model, NeuralRecommender)
    generator = torch.Generator().manual_seed(12)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.eval()


def fresh(
    config: TrainableConfig, users: int = MORE_USERS, items: ItemTable | None = None, codes: int = 9
) -> NeuralRecommender:
    items = catalogue() if items is None else items
    model = build_model(config, users, len(items), items, FeatureSizes(codes, 2, 3), seed=6)
    assert isinstance(model, NeuralRecommender)
    return model.eval()


@pytest.mark.parametrize("name", list(zoo.TRAINABLE))
def test_old_users_score_old_items_as_they_did(name: str) -> None:
    old, new = trained(name), fresh(zoo.TRAINABLE[name])
    grow(old, new)
    batch = zoo.batch(zoo.N_USERS)
    with torch.no_grad():
        items_ND, grown_ND = old.encode_items(), new.encode_items()
        expected, found = old.encode_users(batch, items_ND) @ items_ND.T, new.encode_users(batch, grown_ND) @ grown_ND.T
    torch.testing.assert_close(found[:, : zoo.N_ITEMS], expected, rtol=1e-4, atol=1e-4)
    assert torch.isfinite(found).all()


def test_new_rows_follow_the_old_ones() -> None:
    old, built, new = trained("mf_features"), *(fresh(zoo.TRAINABLE["mf_features"]) for _ in "ab")
    grow(old, new)
    before, start, after = (model.state_dict() for model in (old, built, new))
    for table, rows in (("user_encoder.table", zoo.N_USERS), ("user_tower.codes", zoo.USER_SIZES.n_codes)):
        name = f"{table}.weight"
        assert torch.equal(after[name][:rows], before[name])
        assert torch.equal(after[name][rows:], start[name][rows:])
        assert len(after[name]) > rows


def test_new_items_are_average_ones_and_their_biases_on_tonights_level() -> None:
    old, built, new = trained("mf"), *(fresh(zoo.TRAINABLE["mf"]) for _ in "ab")
    grow(old, new)
    before, start, after = (model.state_dict()["item_encoder.ids.weight"] for model in (old, built, new))
    active = [item for item in range(zoo.N_ITEMS) if item != 3]  # item 3 has no event
    assert torch.equal(after[: zoo.N_ITEMS], before)
    mean, moved = before[active].mean(0), (before - start[: zoo.N_ITEMS])[active].mean(0)
    torch.testing.assert_close(after[zoo.N_ITEMS :, :-1], start[zoo.N_ITEMS :, :-1] + mean[:-1])
    torch.testing.assert_close(after[zoo.N_ITEMS :, -1], start[zoo.N_ITEMS :, -1] + moved[-1])


def test_categories_that_are_gone_are_dropped() -> None:
    old, new = trained("mf_features"), fresh(zoo.TRAINABLE["mf_features"], codes=4)
    grow(old, new)
    name = "user_tower.codes.weight"
    assert torch.equal(new.state_dict()[name], old.state_dict()[name][:4])
    none = fresh(zoo.TRAINABLE["mf_features"], codes=1)
    grow(old, none)
    assert name not in none.state_dict()


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (lambda: fresh(MFConfig(dim=9)), "item_encoder.ids.weight has shape"),
        (
            lambda: fresh(MFConfig(dim=8), users=zoo.N_USERS - 1),
            "of 7 users and 30 items cannot become one of 6",
        ),
        (lambda: fresh(MFConfig(dim=8), items=zoo.items(zoo.N_ITEMS - 1)), "cannot become one of 10 and 29"),
    ],
)
def test_what_does_not_fit_is_refused(new, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        grow(trained("mf"), new())
