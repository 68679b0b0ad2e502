"""LightGCN from the prepare stage's tables to a model folder, without Spark."""

from pathlib import Path

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
from tests.bridge.small_tables import ITEMS, USERS, grouped

CONFIG = LightGCNConfig.model_validate(
    {"dim": 8, "layers": 2, "training": {"epochs": 25, "batch_size": 64, "learning_rate": 0.05, "negatives": 0}}
)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return grouped(tmp_path / "prepared")


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
