"""Which items and categories of two workspaces are the same, and which models are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdspark.bridge import training, transfer
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import Request
from kdspark.bridge.training import train_recommender
from kdspark.bridge.transfer import transferred, vocabulary_of
from kdspark.config import BagConfig, GRUConfig, MFConfig, TransferConfig
from kdspark.errors import ModelError
from kdspark.models.batch import FeatureSizes
from kdspark.models.build import build_model
from kdspark.models.storage import load_model, save_model
from kdspark.workspace import read_json
from tests.bridge.small_tables import ITEMS, USERS, grouped, write

TABLE = {"paths": ["x"], "categorical": ["genre"], "numeric": []}


def workspace(folder: Path, ids: list[object], columns: dict[str, Any] | None = None) -> Prepared:
    """The tables of `grouped` with external ids and a manifest that names the feature columns."""
    prepared = grouped(folder)
    (folder / "item_ids" / "0.parquet").unlink()
    (folder / "item_ids").rmdir()
    write(folder / "item_ids", item_idx=np.arange(ITEMS, dtype=np.int32), item_id=ids)
    write(folder / "item_codes", column=["genre"], value=["folk"], code=np.array([1], np.int32))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["config"] = {"settings": {"data": {"items": columns}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return prepared


@pytest.fixture(autouse=True)
def no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "vocabulary_stamp", lambda spark, prepared: {})
    monkeypatch.setattr(transfer, "check_vocabulary", lambda spark, prepared, folder: None)


def saved(folder: Path, prepared: Prepared, config: BagConfig | GRUConfig | MFConfig) -> None:
    items = load_items(prepared.items("train"))
    save_model(build_model(config, USERS, ITEMS, items, FeatureSizes(), seed=1), folder)


def config_of(folder: Path, **changes: Any) -> TransferConfig:
    values = {"path": str(folder / "model"), "vocabulary": str(folder / "there"), **changes}
    return TransferConfig.model_validate(values)


GRU = GRUConfig(dim=4)


def move(folder: Path, config: TransferConfig, here: Prepared) -> dict[str, Any]:
    return transferred(None, config, here, "train", seed=0)[1]  # type: ignore[arg-type]


def test_items_are_matched_by_their_ids_as_text(tmp_path: Path) -> None:
    """Numbers there, text here, in the opposite order; ten of the items here are strangers."""
    there = workspace(tmp_path / "there", [100 + i for i in range(ITEMS)])
    ids = [str(100 + i) if i >= 10 else f"new-{i}" for i in reversed(range(ITEMS))]
    here = workspace(tmp_path / "here", [*ids])
    saved(tmp_path / "model", there, GRU)
    config = config_of(tmp_path, training={"epochs": 1})
    model, facts = transferred(None, config, here, "train", seed=0)  # type: ignore[arg-type]
    events = load_items(here.items("train")).n_events.numpy() > 0
    assert facts == {"known": 14, "items": int(events.sum()), "share": round(14 / events.sum(), 6)}
    old = load_model(tmp_path / "model", load_items(there.items("train"))).encode_items()
    new = model.encode_items()
    torch.testing.assert_close(new[:14], old[10:].flip(0))


def test_content_features_alone_will_do_where_both_logs_have_the_same(tmp_path: Path) -> None:
    there = workspace(tmp_path / "there", [*range(ITEMS)], TABLE)
    here = workspace(tmp_path / "here", [1000 + i for i in range(ITEMS)], TABLE)
    saved(tmp_path / "model", there, GRUConfig(dim=4, item_features=True))
    assert move(tmp_path, config_of(tmp_path, least=0), here)["known"] == 0
    with pytest.raises(ModelError, match="knows 0 of tonight's 24 items"):
        move(tmp_path, config_of(tmp_path), here)


def test_without_training_it_answers_as_it_is_and_the_record_says_what_it_knows(tmp_path: Path) -> None:
    there = workspace(tmp_path / "there", [*range(ITEMS)])
    here = workspace(tmp_path / "here", [*reversed(range(ITEMS))])
    saved(tmp_path / "model", there, GRU)
    request = Request(here, "train", tmp_path / "checkpoints", seed=0)
    train_recommender(None, config_of(tmp_path), request, tmp_path / "out")  # type: ignore[arg-type]
    record = read_json(tmp_path / "out" / "training.json")
    assert (record["kind"], record["transferred"]["share"], record["curve"]) == ("transfer", 1.0, [])
    old, new = (load_model(tmp_path / name, load_items(here.items("train"))) for name in ("model", "out"))
    torch.testing.assert_close(new.encode_items(), old.encode_items().flip(0))


@pytest.mark.parametrize(
    ("model", "shared", "columns", "changes", "message"),
    [
        (GRU, 2, None, {"training": {}}, r"knows 2 of tonight's 24 items, a share of 0\.0833; at least 0\.1"),
        (GRU, 0, None, {"training": {}, "least": 0.0}, "knows 0 of tonight's"),
        (GRU, 20, None, {}, "knows nothing of 4 of tonight's items, not even by features"),
        (MFConfig(dim=4), 24, None, {}, "holds a mf, which knows its own users"),
        (GRUConfig(dim=4, item_features=True), 24, TABLE, {}, r"reads the item features \{\}; tonight's"),
        (BagConfig(dim=4), 24, None, {"training": {}}, "no `input_dropout`"),
    ],
)
def test_what_cannot_be_transferred_is_refused(
    tmp_path: Path, model: Any, shared: int, columns: Any, changes: dict[str, Any], message: str
) -> None:
    there = workspace(tmp_path / "there", [*range(ITEMS)])
    here = workspace(tmp_path / "here", [i if i < shared else 1000 + i for i in range(ITEMS)], columns)
    saved(tmp_path / "model", there, model)
    with pytest.raises(ModelError, match=message):
        move(tmp_path, config_of(tmp_path, **changes), here)


def test_the_vocabulary_is_found_by_the_manifest_beside_the_model(tmp_path: Path) -> None:
    model = tmp_path / "stages" / "train_teacher" / "abc" / "model"
    model.mkdir(parents=True)
    with pytest.raises(ModelError, match="no manifest of its stage"):
        vocabulary_of(TransferConfig(path=str(model)))
    (model.parent / "manifest.json").write_text(json.dumps({"inputs": {"prepare": "f" * 64}}))
    assert vocabulary_of(TransferConfig(path=str(model))) == tmp_path / "stages" / "prepare" / ("f" * 20)
    assert vocabulary_of(TransferConfig(path=str(model), vocabulary="given")) == Path("given")
