"""Damaged, foreign and mismatched model folders are refused with a remedy."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kdspark.config import MFConfig
from kdspark.errors import ModelError
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.build import build_model, has_short_vectors
from kdspark.models.closed_form import Factors
from kdspark.models.recommender import Recommender
from kdspark.models.storage import (
    load_item_vectors,
    load_model,
    load_serving,
    save_model,
    save_serving,
    storage_of,
    store_as,
)
from tests.models import zoo


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(zoo.ZOO["gru"](), tmp_path / "m")
    return tmp_path / "m"


def test_only_two_files_and_none_can_run_code(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "model.safetensors"]


def test_one_flipped_byte_is_found_before_parsing(saved: Path) -> None:
    path = saved / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="sha256"):
        load_model(saved, zoo.items())


def test_garbage_with_the_right_digest(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(b"garbage")
    _edit(saved, sha256=hashlib.sha256(b"garbage").hexdigest())
    with pytest.raises(ModelError, match="cannot be parsed"):
        load_model(saved, zoo.items())


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(saved, zoo.items())


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}'])
def test_damaged_description(saved: Path, text: str) -> None:
    (saved / "model.json").write_text(text)
    with pytest.raises(ModelError):
        load_model(saved, zoo.items())


def test_unknown_kind_and_damaged_config(saved: Path) -> None:
    described = json.loads((saved / "model.json").read_text())["model"]
    _edit(saved, model=described | {"kind": "oracle"})
    with pytest.raises(ModelError, match="oracle"):
        load_model(saved, zoo.items())
    _edit(saved, model=described | {"config": described["config"] | {"dimm": 3}})
    with pytest.raises(ModelError, match="description is damaged"):
        load_model(saved, zoo.items())


def _wide() -> Recommender:
    """A model with tables that are worth quantising."""
    items = ItemTable.without_features(np.arange(600))
    return build_model(MFConfig(dim=8), 5, 600, items, FeatureSizes(), seed=1).eval()


def test_int8_and_back(tmp_path: Path) -> None:
    model, folder = _wide(), tmp_path / "m"
    whole = save_model(model, folder, {"note": 1})
    assert storage_of(folder) == "float32"
    assert "storage" not in json.loads((folder / "model.json").read_text())
    small = store_as(folder, "int8")
    assert storage_of(folder) == "int8"
    described = json.loads((folder / "model.json").read_text())
    assert (described["sha256"], described["extras"], described["n_params"]) == (small, {"note": 1}, model.n_params)
    assert small != whole
    stored = load_model(folder, ItemTable.without_features(np.arange(600))).state_dict()
    exact = model.state_dict()
    assert (stored["item_encoder.ids.weight"] - exact["item_encoder.ids.weight"]).abs().max() > 0
    torch.testing.assert_close(stored, exact, rtol=0, atol=0.002)  # half of 0.5 / 127
    store_as(folder, "int8")  # once more changes no weight by more than rounding
    again = load_model(folder, ItemTable.without_features(np.arange(600))).state_dict()
    torch.testing.assert_close(again, stored, rtol=1e-6, atol=0)
    store_as(folder, "float32")
    assert storage_of(folder) == "float32"
    assert load_file(folder / "model.safetensors")["item_encoder.ids.weight"].dtype == torch.float32


def test_a_flipped_byte_in_int8_is_found(tmp_path: Path) -> None:
    save_model(_wide(), tmp_path)
    store_as(tmp_path, "int8")
    test_one_flipped_byte_is_found_before_parsing(tmp_path)


def test_int8_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = _wide()
    with torch.no_grad():
        model.get_parameter("item_encoder.ids.weight")[7, 2] = float("nan")
    save_model(model, tmp_path)
    with pytest.raises(ModelError, match="not finite"):
        store_as(tmp_path, "int8")


def test_item_vectors_of_an_int8_bundle_are_those_it_serves(tmp_path: Path) -> None:
    model = _wide()
    save_serving(model, tmp_path, storage="int8")
    serving = load_serving(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["items_ND"].dtype == torch.int8
    assert torch.equal(load_item_vectors(tmp_path), serving.items_ND * serving.allowed_N[:, None])
    assert not torch.equal(serving.items_ND, model.encode_items())


def test_weights_of_another_shape(saved: Path) -> None:
    described = json.loads((saved / "model.json").read_text())["model"]
    _edit(saved, model=described | {"config": described["config"] | {"dim": 4}})
    with pytest.raises(ModelError, match="do not fit"):
        load_model(saved, zoo.items())


def test_a_model_is_no_serving_bundle(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a 'serving'"):
        load_serving(saved)
    save_serving(zoo.ZOO["gru"](), tmp_path / "s")
    with pytest.raises(ModelError, match="not a 'model'"):
        load_model(tmp_path / "s", zoo.items())


def test_serving_bundle_of_a_student_holds_no_item_tower(tmp_path: Path) -> None:
    save_serving(zoo.ZOO["transformer"](), tmp_path / "s")
    from safetensors import safe_open

    with safe_open(tmp_path / "s" / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "item_encoder" in name]  # noqa: SIM118


def test_non_finite_vectors_are_not_served(tmp_path: Path) -> None:
    model = zoo.ZOO["bag"]()
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        save_serving(model, tmp_path / "s")
    with pytest.raises(ModelError, match="not finite"):
        Factors.from_numpy(np.full((2, 2), np.inf), np.ones((2, 2)), zoo.items())


def test_item_vectors_of_a_bundle_are_zero_where_it_recommends_nothing(tmp_path: Path) -> None:
    save_serving(zoo.ZOO["gru"](), tmp_path)
    found, serving = load_item_vectors(tmp_path), load_serving(tmp_path)
    assert not serving.allowed_N[3]  # item 3 has no event
    assert serving.items_ND[3].any()
    for item in range(zoo.N_ITEMS):
        assert torch.equal(found[item], serving.items_ND[item] * (item != 3))


@pytest.mark.parametrize("name", list(zoo.ZOO))
def test_item_item_models_and_ensembles_with_one_have_no_short_vectors(name: str) -> None:
    described = json.loads(json.dumps(zoo.ZOO[name]().describe()))
    with_item_item = ("ensemble", "ensemble_of_scores", "ensemble_by_agreement", "ensemble_by_gate_of_scores")
    assert has_short_vectors(described) == (name not in ("ease", "ease_pruned", "gfcf", *with_item_item))
