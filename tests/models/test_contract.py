"""The contract that every model must pass."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kdspark.errors import ModelError
from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.recommender import Recommender
from kdspark.models.storage import load_model, load_serving, save_model, save_serving
from tests.models import zoo

PERSONAL = [name for name in zoo.ZOO if name != "popularity"]


@pytest.fixture(params=list(zoo.ZOO))
def model(request: pytest.FixtureRequest) -> Recommender:
    return zoo.ZOO[request.param]()


def scores(model: Recommender, batch: UserBatch) -> torch.Tensor:
    with torch.inference_mode():
        return model.score_users(batch, model.encode_items())


def test_shapes_types_and_finite(model: Recommender) -> None:
    batch = zoo.batch()
    items_ND = model.encode_items()
    users_BD = model.encode_users(batch, items_ND)
    assert items_ND.shape[0] == zoo.N_ITEMS
    assert users_BD.shape == (5, items_ND.shape[1])
    assert items_ND.dtype == users_BD.dtype == torch.float32
    assert torch.isfinite(items_ND).all()
    assert torch.isfinite(users_BD).all()
    assert model.encodable(batch).dtype == torch.bool
    assert model.encodable(batch).shape == (5,)


def test_items_without_events_are_not_allowed(model: Recommender) -> None:
    assert torch.nonzero(~model.allowed()).flatten().tolist() == [3]


@pytest.mark.parametrize("name", PERSONAL)
def test_users_get_different_scores(name: str) -> None:
    result = scores(zoo.ZOO[name](), zoo.batch())
    assert not torch.allclose(result[0], result[1], atol=1e-6)


def test_saved_and_loaded_is_the_same_model(model: Recommender, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m", {"note": "ünïcode"})
    loaded = load_model(tmp_path / "m", zoo.items())
    assert torch.equal(scores(loaded, zoo.batch()), scores(model, zoo.batch()))
    assert loaded.n_params == model.n_params
    assert json.loads((tmp_path / "m" / "model.json").read_text())["n_params"] == model.n_params


def test_serving_bundle_scores_as_the_model(model: Recommender, tmp_path: Path) -> None:
    expected, known = scores(model, zoo.batch()), model.encodable(zoo.batch())
    save_serving(model, tmp_path / "s")
    serving = load_serving(tmp_path / "s")
    with torch.inference_mode():
        answers = serving.answer(zoo.batch())
    everything = np.tile(np.arange(zoo.N_ITEMS), (5, 1))
    found = torch.from_numpy(answers.scores_of(everything))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(serving.encodable(zoo.batch()), known)
    assert serving.allowed_N_numpy.tolist() == model.allowed().tolist()
    assert serving.popularity_N_numpy.tolist() == zoo.items().n_events.tolist()
    assert torch.equal(scores(model, zoo.batch()), expected)  # writing it left the model whole


def test_batch_padding_changes_nothing(model: Recommender) -> None:
    batch = zoo.batch()
    torch.testing.assert_close(scores(model, batch.pad_to(16))[:5], scores(model, batch), rtol=1e-5, atol=1e-6)


def test_fixed_batches_are_equal_to_the_bit_whoever_shares_them(model: Recommender) -> None:
    batch, order = zoo.batch(), torch.tensor([3, 0, 4, 2, 1])
    alone = scores(model, batch.take(slice(3, 4)).pad_to(16))[0]
    assert torch.equal(scores(model, batch.take(order).pad_to(16))[0], alone)


def test_serving_encodes_the_same_whoever_shares_the_batch(model: Recommender) -> None:
    batch, order = zoo.batch(), torch.tensor([3, 0, 4, 2, 1])
    with torch.inference_mode():
        items_ND = model.encode_items()
        users_BD = model.serve_users(batch.take(order).pad_to(16), items_ND)
        torch.testing.assert_close(users_BD[:5], model.encode_users(batch.take(order), items_ND), rtol=1e-5, atol=1e-6)
        assert torch.equal(model.serve_users(batch.take(slice(3, 4)).pad_to(16), items_ND)[0], users_BD[0])


def test_padding_on_the_left_of_a_history_changes_nothing(model: Recommender) -> None:
    batch = zoo.batch()
    longer = torch.cat([torch.full((5, 4), -1), batch.history], dim=1)
    wide = dataclasses.replace(batch, history=longer)
    torch.testing.assert_close(scores(model, wide), scores(model, batch), rtol=1e-5, atol=1e-6)


def test_unknown_items_count_as_padding(model: Recommender) -> None:
    batch = zoo.batch()
    history = batch.history.clone()
    history[:, 4] = -1
    with_unknown = torch.where(torch.arange(zoo.LENGTH) == 4, 10_000, history)
    torch.testing.assert_close(
        scores(model, dataclasses.replace(batch, history=with_unknown)),
        scores(model, dataclasses.replace(batch, history=history)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_unknown_users_are_finite_and_not_encodable(model: Recommender) -> None:
    batch = zoo.unknown_user()
    assert torch.isfinite(scores(model, batch)).all()
    if model.kind != "popularity":
        assert model.encodable(batch).tolist() == [False, False]


def test_empty_histories_of_no_columns(model: Recommender) -> None:
    assert torch.isfinite(scores(model, zoo.batch(length=0))).all()


def test_catalogue_may_grow_but_never_shrink(model: Recommender, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    small = zoo.items()
    grown = zoo.items(zoo.N_ITEMS + 4, seed=9)
    grown = ItemTable(*(torch.cat([a, b[-4:]]) for a, b in zip(_tensors(small), _tensors(grown), strict=True)))
    loaded = load_model(tmp_path, grown)
    before, after = scores(model, zoo.batch()), scores(loaded, zoo.batch())
    assert after.shape[1] == zoo.N_ITEMS + 4
    assert torch.isfinite(after).all()
    assert loaded.allowed()[-4:].tolist() == [loaded.known_items > zoo.N_ITEMS] * 4
    if model.kind not in ("popularity", "ensemble"):  # their scores depend on all items' counts or spread
        torch.testing.assert_close(after[:, : zoo.N_ITEMS], before, rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match="item table has only 10"):
        load_model(tmp_path, ItemTable(*(tensor[:10] for tensor in _tensors(small))))


def _tensors(table: ItemTable) -> tuple[torch.Tensor, ...]:
    return table.codes, table.numbers, table.vector, table.n_events


@pytest.mark.parametrize("name", list(zoo.CAUSAL))
class TestCausal:
    def test_last_position_is_the_user_vector(self, name: str) -> None:
        model, batch = zoo.ZOO[name](), zoo.batch()
        items_ND = model.encode_items()
        positions_BWD = model.encode_positions(batch, items_ND)
        assert positions_BWD.shape == (5, 6, items_ND.shape[1])
        torch.testing.assert_close(positions_BWD[:4, -1], model.encode_users(batch, items_ND)[:4])
        assert (positions_BWD[4] == 0).all()

    def test_every_position_is_the_vector_of_its_prefix(self, name: str) -> None:
        model, batch = zoo.ZOO[name](), zoo.batch(length=6)
        items_ND = model.encode_items()
        positions_BWD = model.encode_positions(batch, items_ND)
        for end in range(1, 7):
            prefix = dataclasses.replace(batch, history=batch.history[:, :end])
            expected = model.encode_users(prefix, items_ND) * (prefix.history[:, -1:] >= 0)
            torch.testing.assert_close(positions_BWD[:, end - 1], expected, rtol=1e-4, atol=1e-6)

    def test_later_items_do_not_change_earlier_positions(self, name: str) -> None:
        model, batch = zoo.ZOO[name](), zoo.batch(length=6)
        items_ND = model.encode_items()
        changed = batch.history.clone()
        changed[:, 4:] = torch.where(changed[:, 4:] >= 0, (changed[:, 4:] + 7) % zoo.N_ITEMS, -1)
        before = model.encode_positions(batch, items_ND)
        after = model.encode_positions(dataclasses.replace(batch, history=changed), items_ND)
        torch.testing.assert_close(after[:, :4], before[:, :4])
        assert not torch.allclose(after[:, 5], before[:, 5])


def test_models_without_order_refuse_positions() -> None:
    model = zoo.ZOO["bag"]()
    with pytest.raises(NotImplementedError):
        model.encode_positions(zoo.batch(), model.encode_items())


def test_encodable_means_something_is_known() -> None:
    batch = zoo.batch()
    trained = zoo.ZOO["mf"]()
    assert trained.encodable(batch).all()
    with torch.no_grad():
        trained.get_parameter("user_encoder.table.weight")[[2, 4]] = 0.0  # users without a training row
    assert trained.encodable(batch).tolist() == [True, True, True, True, False]  # 2 has a history, 4 has none
    assert zoo.ZOO["bag"]().encodable(batch).tolist() == [True, True, True, True, False]
    assert zoo.ZOO["cnn"]().encodable(batch).all()  # by features
    assert zoo.ZOO["ease"]().encodable(batch).tolist() == [True, True, True, True, False]
    numpy_rows = np.zeros((1, 4))
    zero = type(zoo.ZOO["als"]()).from_numpy(numpy_rows, np.ones((30, 4)), zoo.items())  # type: ignore[attr-defined]
    assert not zero.encodable(batch).any()
