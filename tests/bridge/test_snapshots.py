"""Earlier states of a training: which, and that they are what a shorter training ends with."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdspark.bridge import graph, training
from kdspark.bridge.items import load_items
from kdspark.bridge.request import Request
from kdspark.bridge.snapshots import Snapshots, snapshot
from kdspark.bridge.training import train_recommender
from kdspark.config import EnsembleConfig, LightGCNConfig
from kdspark.errors import TrainingError
from kdspark.models.storage import describe_folder, load_model
from kdspark.workspace import read_json
from tests.bridge.small_tables import grouped

TRAINING = {"epochs": 6, "batch_size": 64, "negatives": 0, "keep": "last"}
GRAPH = LightGCNConfig.model_validate({"dim": 4, "layers": 1, "training": TRAINING})


def states(count: int) -> Snapshots:
    return Snapshots(count, Path(), lambda folder: None)


def test_states_by_hand() -> None:
    assert states(2).wanted(9) == [3, 6]
    assert states(2).wanted(7) == [2, 5]
    assert states(3).wanted(1) == [1, 1, 1]
    assert [states(1).distance(epoch) for epoch in (1, 15, 16, 31, 32)] == [1, 1, 2, 2, 4]
    assert states(1).wanted(67) == [32]  # 33.5 of 28, 30, 32, 36, 40


@given(st.integers(1, 5), st.integers(1, 1000))
def test_states_are_saved_ones_in_order_near_their_shares(count: int, best: int) -> None:
    kept = states(count)
    saved = [epoch for epoch in range(1, best + 1) if epoch % kept.distance(epoch) == 0]
    wanted = kept.wanted(best)
    assert wanted == sorted(wanted)
    assert set(wanted) <= set(saved)
    shares = [state * best / (count + 1) for state in range(1, count + 1)]
    assert all(
        abs(epoch - share) <= max(0.5, share / 8) for epoch, share in zip(wanted, shares, strict=True) if share >= 1
    )
    assert len(saved) <= 8 * (count + 1) + 4 * (count + 1) * max(0.0, math.log2(best / (8 * (count + 1)))) + 1


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.setattr(training, "vocabulary_stamp", lambda spark, prepared: {})
    return Request(grouped(tmp_path / "prepared"), "train", tmp_path / "checkpoints", seed=3, snapshots=2)


def digest(folder: Path) -> str:
    return str(describe_folder(folder)["sha256"])


def test_a_state_is_what_a_training_that_stops_there_ends_with(request_: Request, tmp_path: Path) -> None:
    train_recommender(None, GRAPH, request_, tmp_path / "whole")  # type: ignore[arg-type]
    assert read_json(tmp_path / "whole" / "training.json")["snapshots"] == [2, 4]
    for state, epoch in ((1, 2), (2, 4)):
        shorter = replace(request_, checkpoints=tmp_path / str(state), snapshots=0).refit({"best_epoch": epoch})
        train_recommender(None, GRAPH, shorter, tmp_path / f"until-{epoch}")  # type: ignore[arg-type]
        assert digest(snapshot(tmp_path / "whole", state)) == digest(tmp_path / f"until-{epoch}")
        assert not snapshot(tmp_path / f"until-{epoch}", 1).exists()


def test_a_resumed_training_has_the_same_states(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_recommender(None, GRAPH, request_, tmp_path / "whole")  # type: ignore[arg-type]
    again = replace(request_, checkpoints=tmp_path / "again")
    keep = Snapshots.after_epoch

    def dies(kept: Snapshots, done: int) -> None:
        keep(kept, done)
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(graph.Snapshots, "after_epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        train_recommender(None, GRAPH, again, tmp_path / "resumed")  # type: ignore[arg-type]
    monkeypatch.setattr(graph.Snapshots, "after_epoch", keep)
    train_recommender(None, GRAPH, again, tmp_path / "resumed")  # type: ignore[arg-type]
    for state in (1, 2):
        one, other = (snapshot(tmp_path / name, state) for name in ("whole", "resumed"))
        assert digest(one) == digest(other)


def test_an_ensemble_is_made_of_its_members_states(request_: Request, tmp_path: Path) -> None:
    members = [GRAPH.model_dump(), {"kind": "popularity"}]
    config = EnsembleConfig.model_validate({"members": members, "weights": [2, 1]})
    train_recommender(None, config, request_, tmp_path / "both")  # type: ignore[arg-type]
    alone = replace(request_, checkpoints=tmp_path / "alone")
    train_recommender(None, GRAPH, alone, tmp_path / "graph")  # type: ignore[arg-type]
    items = load_items(request_.prepared.items("train"))
    for state in (1, 2):
        together = load_model(snapshot(tmp_path / "both", state), items).state_dict()
        part = load_model(snapshot(tmp_path / "graph", state), items).state_dict()
        assert all(torch.equal(together[f"members.0.{name}"], tensor) for name, tensor in part.items())
        assert describe_folder(snapshot(tmp_path / "both", state))["model"]["weights"] == [2, 1]


def test_a_state_that_is_gone_is_missed(tmp_path: Path) -> None:
    kept = Snapshots(1, tmp_path / "checkpoints", lambda folder: None)
    with pytest.raises(TrainingError, match="is gone"):
        kept.write(tmp_path / "model", best_epoch=4)
