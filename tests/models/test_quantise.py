"""int8 rows: bounds of their error, what stays exact, columns apart, and rankings that hardly change."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file

from kdspark.config import BagConfig, GRUConfig, MFConfig, TrainableConfig
from kdspark.errors import ModelError
from kdspark.models.answers import Catalogue, answer
from kdspark.models.batch import FeatureSizes, ItemTable, UserBatch
from kdspark.models.build import build_model
from kdspark.models.ensemble import Ensemble
from kdspark.models.quantise import dequantise_rows, outlying_columns, pack, quantise_rows, unpack
from kdspark.models.recommender import Recommender
from kdspark.models.storage import load_model, load_serving, save_model, save_serving, store_as

_LARGEST, _TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
_MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(-_LARGEST, _LARGEST, width=32) | st.floats(-2, 2, width=32) | st.just(0.0),
)


@given(_MATRICES)
def test_every_entry_is_off_by_half_its_rows_scale_at_most(matrix: np.ndarray) -> None:
    codes, scale = quantise_rows(torch.from_numpy(matrix))
    found = dequantise_rows(codes, scale)
    assert (codes.dtype, scale.dtype, found.dtype) == (torch.int8, torch.float32, torch.float32)
    assert torch.isfinite(found).all()
    error = np.abs(found.double().numpy() - matrix.astype(np.float64))
    rounding = np.abs(matrix).max(axis=1, keepdims=True) * 2.0**-22  # of float32 products and quotients
    assert (error <= scale.double().numpy()[:, None] / 2 + rounding + _TINY).all()


@given(_MATRICES)
def test_scales_are_as_small_as_they_can_be_and_rows_are_apart(matrix: np.ndarray) -> None:
    codes, scale = quantise_rows(torch.from_numpy(matrix))
    largest = np.abs(matrix).max(axis=1)
    normal = largest > 127 * _TINY
    assert (codes.abs().amax(dim=1).numpy()[normal] == 127).all()  # so a row that is not zero never becomes it
    np.testing.assert_allclose(scale.numpy()[normal], largest[normal] / 127, rtol=1e-6)
    alone = [quantise_rows(torch.from_numpy(matrix[row : row + 1])) for row in range(len(matrix))]
    assert torch.equal(codes, torch.cat([one for one, _ in alone]))


def test_by_hand() -> None:
    codes, scale = quantise_rows(torch.tensor([[12.7, -0.05, 0.049, 6.35], [0.0, 0.0, 0.0, 0.0]]))
    assert codes[0].tolist() in ([127, 0, 0, 64], [127, -1, 0, 64], [127, 0, 0, 63], [127, -1, 0, 63])  # two are ties
    assert scale[0].item() == pytest.approx(0.1)
    assert not dequantise_rows(codes, scale)[1].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    weights = torch.ones(3, 4)
    weights[1, 2] = value
    with pytest.raises(ModelError, match="not finite"):
        quantise_rows(weights)


def test_a_bias_apart_keeps_the_scores_fine() -> None:
    """Vectors of deviation 0.2 beside biases of 2, as the items of a popularity-skewed log have."""
    rng = torch.Generator().manual_seed(1)
    items = torch.randn(2000, 33, generator=rng) * 0.2
    items[:, -1] = torch.randn(2000, generator=rng) * 2
    users = torch.cat([torch.randn(100, 32, generator=rng), torch.ones(100, 1)], dim=1)
    assert outlying_columns(items).tolist() == [32]
    inside = dequantise_rows(*quantise_rows(items))
    apart = unpack(pack({"items": items}))["items"]
    assert torch.equal(apart[:, -1], items[:, -1])
    exact = users @ items.T
    errors = [(users @ table.T - exact).square().mean().sqrt().item() for table in (inside, apart)]
    assert errors[1] < errors[0] / 3  # 0.025 and 0.006


def test_columns_alike_are_not_apart() -> None:
    rng = torch.Generator().manual_seed(2)
    assert not len(outlying_columns(torch.randn(500, 16, generator=rng)))
    assert not len(outlying_columns(torch.zeros(5, 4)))


def test_what_is_packed_and_what_is_left() -> None:
    rng = torch.Generator().manual_seed(3)
    tensors = {
        "table": torch.randn(500, 16, generator=rng),
        "with_bias": torch.randn(500, 16, generator=rng) * torch.tensor([1.0] * 15 + [9.0]),
        "small": torch.randn(50, 32, generator=rng),
        "narrow": torch.randn(5000, 2, generator=rng),
        "vector": torch.randn(9000, generator=rng),
        "counts": torch.arange(10_000).reshape(100, 100),
    }
    packed = pack(tensors)
    assert packed["table"].dtype == packed["with_bias"].dtype == torch.int8
    assert [packed["table"].shape[1], packed["with_bias"].shape[1]] == [16, 15]
    found = unpack(packed)
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        if name in ("table", "with_bias"):
            assert 0 < (found[name] - tensor).abs().max() < 0.02
        else:
            assert torch.equal(found[name], tensor)
    assert torch.equal(found["with_bias"][:, -1], tensors["with_bias"][:, -1])


def test_parts_that_do_not_fit_are_refused() -> None:
    weights = torch.randn(500, 16, generator=torch.Generator().manual_seed(3))
    weights[:, 4] *= 20
    packed = pack({"w": weights})
    del packed["w:apart"]
    with pytest.raises(ModelError, match="int8 weights of w are damaged"):
        unpack(packed)
    with pytest.raises(ModelError, match="int8 weights of w are damaged"):
        unpack({**pack({"w": weights}), "w:scale": torch.ones(3)})


USERS, ITEMS, TASTES = 400, 600, 12


def log() -> tuple[UserBatch, torch.Tensor, ItemTable]:
    """Users of one of several tastes, who choose popular items of it: histories and one more item each."""
    rng = np.random.default_rng(5)
    taste = rng.integers(0, TASTES, USERS)
    ranks = np.minimum(rng.geometric(0.08, (USERS, 11)) - 1, ITEMS // TASTES - 1)
    chosen = np.where(
        rng.random((USERS, 11)) < 0.8, ranks * TASTES + taste[:, None], rng.integers(0, ITEMS, ranks.shape)
    )
    empty = np.zeros((USERS, 0))
    batch = UserBatch.from_numpy(np.arange(USERS), chosen[:, :10], empty, empty, empty)
    return batch, torch.from_numpy(chosen), ItemTable.without_features(np.bincount(chosen.ravel(), minlength=ITEMS))


def trained(config: TrainableConfig, seed: int = 1) -> tuple[Recommender, UserBatch, ItemTable]:
    batch, chosen_BW, items = log()
    model = build_model(config, USERS, ITEMS, items, FeatureSizes(), seed=seed)
    dense = [parameter for name, parameter in model.named_parameters() if "user_encoder.table" not in name]
    own = [parameter for name, parameter in model.named_parameters() if "user_encoder.table" in name]
    optimizers = [torch.optim.Adam(dense, lr=0.01)] + ([torch.optim.SparseAdam(own, lr=0.1)] if own else [])
    for _ in range(60):
        items_ND = model.encode_items()
        log_share_BN = (model.encode_users(batch, items_ND) @ items_ND.T).log_softmax(dim=1)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (-log_share_BN.gather(1, chosen_BW).mean()).backward()
        for optimizer in optimizers:
            optimizer.step()
    return model.eval(), batch, items


@pytest.mark.parametrize(
    "config", [MFConfig(dim=16), BagConfig(dim=16, history_length=10), GRUConfig(dim=32, history_length=10)]
)
def test_rankings_hardly_change_and_bundle_and_model_are_one(config: TrainableConfig, tmp_path: Path) -> None:
    model, batch, items = trained(config)
    save_model(model, tmp_path / "model")
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    store_as(tmp_path / "model", "int8")
    stored = load_model(tmp_path / "model", items)
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < size / 2
    assert stored.n_params == model.n_params
    save_serving(stored, tmp_path / "serving", storage="int8")
    serving = load_serving(tmp_path / "serving")
    with torch.inference_mode():
        answers = [answer(one, batch, _catalogue(one)) for one in (model, stored)] + [serving.answer(batch)]
    tops = [one.top(10)[0] for one in answers]
    overlap = {
        (one, other): np.mean([len({*tops[one][row]} & {*tops[other][row]}) / 10 for row in range(USERS)])
        for one, other in itertools.combinations(range(3), 2)
    }
    assert overlap[0, 1] > 0.95
    assert overlap[0, 2] > 0.95
    assert overlap[1, 2] > 0.99
    assert overlap[0, 1] < 1


def _catalogue(model: Recommender) -> Catalogue:
    return Catalogue(model.encode_items(), model.allowed())


def test_biases_of_every_member_of_an_ensemble_are_apart(tmp_path: Path) -> None:
    config = BagConfig(dim=16, history_length=10)
    members = [trained(config, seed)[0] for seed in (1, 2)]
    batch, _, items = log()
    model = Ensemble(members, None, items).eval()
    save_serving(model, tmp_path, storage="int8")
    assert load_file(tmp_path / "model.safetensors")["items_ND:columns"].tolist() == [16, 33]
    with torch.inference_mode():
        exact, stored = answer(model, batch, _catalogue(model)), load_serving(tmp_path).answer(batch)
    tops = [answers.top(10)[0] for answers in (exact, stored)]
    assert np.mean([len({*one} & {*other}) / 10 for one, other in zip(*tops, strict=True)]) > 0.95
