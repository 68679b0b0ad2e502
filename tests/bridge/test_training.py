"""Ensembles from configuration to folder without Spark, on members that need none."""

from pathlib import Path

import pytest
import torch

from kdspark.bridge import training
from kdspark.bridge.items import load_items
from kdspark.bridge.request import Request
from kdspark.bridge.training import train_recommender
from kdspark.config import EnsembleConfig
from kdspark.models.ensemble import Ensemble
from kdspark.models.storage import load_model
from kdspark.models.weighing import Agreement, Gate
from kdspark.workspace import read_json
from tests.bridge.small_tables import grouped

MEMBERS = [
    {"kind": "lightgcn", "dim": 8, "layers": 2, "training": {"epochs": 5, "batch_size": 64, "negatives": 0}},
    {"kind": "gfcf", "rank": 4},
    {"kind": "popularity"},
]


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.setattr(training, "vocabulary_stamp", lambda spark, prepared: {})
    return Request(grouped(tmp_path / "prepared"), "train", tmp_path / "checkpoints", seed=3)


def trained(config: EnsembleConfig, request: Request, out: Path) -> Ensemble:
    train_recommender(None, config, request, out)  # type: ignore[arg-type]
    model = load_model(out, load_items(request.prepared.items(request.scope)))
    assert isinstance(model, Ensemble)
    return model


def test_a_refit_takes_the_gate_and_the_epochs_that_were_found(request_: Request, tmp_path: Path) -> None:
    config = EnsembleConfig.model_validate({"members": MEMBERS, "combine": "gate"})
    first = trained(config, request_, tmp_path / "first")
    record = read_json(tmp_path / "first" / "training.json")
    assert isinstance(first.weigher, Gate)
    assert first.weigher.get_buffer("weights").abs().sum() > 0
    assert record["gate"] == first.weigher.record()
    full = Request(request_.prepared, "full", tmp_path / "refit-checkpoints", seed=3).refit(record)
    second = trained(config, full, tmp_path / "second")
    assert isinstance(second.weigher, Gate)
    for name, tensor in first.weigher.state_dict().items():
        assert torch.equal(second.weigher.state_dict()[name], tensor)
    found = read_json(tmp_path / "second" / "training.json")
    assert found["gate"] == record["gate"]
    assert len(found["members"][0]["curve"]) == record["members"][0]["best_epoch"]
    assert found["rows"] == {"interactions": 180}


@pytest.mark.parametrize(("combine", "kind"), [("agreement", Agreement), ("fixed", type(None))])
def test_other_ways_to_combine(request_: Request, tmp_path: Path, combine: str, kind: type) -> None:
    config = EnsembleConfig.model_validate({"members": MEMBERS[1:] + MEMBERS[1:2], "combine": combine})
    assert isinstance(trained(config, request_, tmp_path / "out").weigher, kind)
    assert read_json(tmp_path / "out" / "training.json")["gate"] is None
