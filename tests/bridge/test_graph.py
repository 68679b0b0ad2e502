"""LightGCN from the prepare stage's tables to a model folder, without Spark."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kdspark.bridge.graph import train_graph
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.validation import validator
from kdspark.config import LightGCNConfig
from kdspark.errors import TrainingError
from kdspark.models.closed_form import Popularity
from kdspark.models.storage import describe_folder, load_model

USERS, ITEMS, GROUPS = 30, 24, 4
CONFIG = LightGCNConfig.model_validate(
    {"dim": 8, "layers": 2, "training": {"epochs": 25, "batch_size": 64, "learning_rate": 0.05, "negatives": 0}}
)


def write(path: Path, **columns: object) -> None:
    path.mkdir(parents=True)
    types = {"codes": pa.list_(pa.int32()), "history": pa.list_(pa.int32())}
    types |= {"numbers": pa.list_(pa.float32()), "vector": pa.list_(pa.float32())}
    pq.write_table(pa.table({n: pa.array(v, types.get(n)) for n, v in columns.items()}), path / "0.parquet")


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Users with four train items, one valid and one test item of their group of six; they see them in any order."""
    rng = np.random.default_rng(0)
    items = np.stack([rng.permutation(6) * GROUPS + user % GROUPS for user in range(USERS)])
    folder, splits = tmp_path / "prepared", ["train"] * 4 + ["valid", "test"]
    write(
        folder / "interactions",
        user_idx=np.repeat(np.arange(USERS), 6),
        item_idx=items.ravel(),
        split=splits * USERS,
    )
    for scope, kept in (("train", 4), ("full", 6)):
        events = np.bincount(items[:, :kept].ravel(), minlength=ITEMS)
        nothing = {"numbers": [[]] * ITEMS, "codes": [[]] * ITEMS, "vector": [[]] * ITEMS}
        write(folder / f"items_{scope}", item_idx=np.arange(ITEMS), n_events=events, **nothing)
        nothing = {"numbers": [[]] * USERS, "codes": [[]] * USERS, "vector": [[]] * USERS}
        write(folder / f"users_{scope}", user_idx=np.arange(USERS), history=items[:, :kept].tolist(), **nothing)
    write(folder / "user_ids", user_idx=np.arange(USERS))
    write(folder / "item_ids", item_idx=np.arange(ITEMS))
    (folder / "features.json").write_text(json.dumps({"user_sizes": {}, "examples_kind": "set", "repeats": False}))
    counts = {"train": 4 * USERS, "valid": USERS, "test": USERS}
    (folder / "manifest.json").write_text(json.dumps({"facts": {"splits": counts}}))
    return Prepared(folder)


def test_trains_beyond_popularity_and_refits(prepared: Prepared, tmp_path: Path) -> None:
    out = tmp_path / "model"
    found = train_graph(CONFIG, prepared, "train", tmp_path / "1", 5, None, {"note": 1}, out)
    items = load_items(prepared.items("train"))
    measure = validator(prepared, CONFIG.training, 5)
    model = load_model(out, items)
    assert found["best_metric"] == measure(model) > 1.5 * measure(Popularity(USERS, ITEMS, items))
    assert found["rows"] == {"interactions": 4 * USERS}
    assert describe_folder(out)["extras"] == {"note": 1}
    assert describe_folder(out)["kind"] == "lightgcn"

    again = train_graph(CONFIG, prepared, "full", tmp_path / "2", 5, 3, {}, tmp_path / "refit")
    assert [row["epoch"] for row in again["curve"]] == [1, 2, 3]
    assert "valid" not in again["curve"][0]
    assert again["rows"] == {"interactions": 6 * USERS}
    refitted = load_model(tmp_path / "refit", load_items(prepared.items("full")))
    assert not torch.equal(refitted.encode_items(), model.encode_items())


def test_what_does_not_fit_into_memory_is_refused(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdspark.models.memory.memory_bytes", lambda device: 1000)
    with pytest.raises(TrainingError, match="lightgcn: 8 dimensions of 30 users and 24 items") as error:
        train_graph(CONFIG, prepared, "train", tmp_path / "1", 5, None, {}, tmp_path / "model")
    assert "Lower `dim`" in error.value.remedy
