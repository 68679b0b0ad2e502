"""Copies of a student: what each is trained with, how they answer together, and how they are stored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from kdspark.bridge import training
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import Request
from kdspark.bridge.training import train_recommender
from kdspark.config import BagConfig, BagTrainingConfig, DistillConfig, EnsembleConfig, Storage, TrainableConfig
from kdspark.models.batch import FeatureSizes, UserBatch
from kdspark.models.build import build_model
from kdspark.models.storage import load_model, load_serving, save_model, save_serving, storage_of
from kdspark.workspace import read_json
from tests.bridge.test_prepared import write

N_USERS, N_ITEMS = 4, 500
STUDENT = BagConfig(dim=8, history_length=5, training=BagTrainingConfig(num_processes=3))
Train = Callable[..., Path]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    folder, none = tmp_path / "prepared", [[] for _ in range(N_ITEMS)]
    counts = np.random.default_rng(0).integers(0, 50, N_ITEMS)
    write(
        folder / "items_train" / "0.parquet",
        item_idx=range(N_ITEMS), n_events=counts, codes=none, numbers=none, vector=none,
    )  # fmt: skip
    (folder / "features.json").write_text(json.dumps({"user_sizes": {}}))
    return Prepared(folder)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The job of each training, which leaves fresh weights of its seed; no Spark is needed."""
    asked: list[dict[str, Any]] = []

    def train(_spark: object, _process: object, arguments: dict[str, Any], processes: int, **_: object) -> Any:
        job = arguments["job"]
        asked.append({**job, "processes": processes})
        config = TypeAdapter(TrainableConfig).validate_python(job["config"])
        items = load_items(Prepared(Path(job["prepared"])).items("train"))
        model = build_model(config, N_USERS, N_ITEMS, items, FeatureSizes(), job["seed"])
        save_model(model, Path(job["out"]), job["extras"])
        return {"best_epoch": len(asked), "best_metric": 0.5, "curve": [], "rows": {"soft_labels": 12}}

    monkeypatch.setattr(training, "run_training", train)
    monkeypatch.setattr(training, "vocabulary_stamp", lambda *_: {"vocabulary": {}})
    return asked


def train_copies(prepared: Prepared, out: Path, storage: Storage = "float32", **changes: Any) -> Any:
    request = Request(
        prepared, "train", out.parent / "checkpoints", 7, out.parent / "soft_labels", DistillConfig(), 10,
        storage=storage, **changes,
    )  # fmt: skip
    return train_recommender(None, EnsembleConfig(members=[STUDENT] * 2), request, out)  # type: ignore[arg-type]


def test_each_copy_learns_from_the_same_labels_with_a_seed_of_its_own(
    tmp_path: Path, prepared: Prepared, trainings: list[dict[str, Any]]
) -> None:
    trained = train_copies(prepared, tmp_path / "model", start=tmp_path / "starts")
    own = {"seed", "checkpoints", "out", "start"}
    first, second = trainings
    assert {name for name in first if first[name] != second[name]} == own
    assert (first["seed"], first["rows"], first["top_k"]) == (7, str(tmp_path / "soft_labels"), 10)
    assert first["distill"]["lambda"] == 1.0
    assert first["processes"] == 3
    assert [Path(each["start"]) for each in trainings] == [tmp_path / "starts" / f"member-{n}" for n in range(2)]
    single = build_model(STUDENT, N_USERS, N_ITEMS, load_items(prepared.items("train")), FeatureSizes(), 0)
    assert trained.params == 2 * single.n_params
    assert [member.best_epoch for member in trained.members] == [1, 2]
    assert trained.rows == {"soft_labels": 12}


def test_a_refit_repeats_the_epochs_of_each_copy(
    tmp_path: Path, prepared: Prepared, trainings: list[dict[str, Any]]
) -> None:
    train_copies(prepared, tmp_path / "model")
    train_copies(prepared, tmp_path / "refit", epochs_from=read_json(tmp_path / "model" / "training.json"))
    assert [each["stop_after"] for each in trainings] == [None, None, 1, 2]


def test_they_answer_with_the_sum_of_their_z_scores(
    tmp_path: Path, prepared: Prepared, trainings: list[dict[str, Any]]
) -> None:
    train_copies(prepared, tmp_path / "model")
    items = load_items(prepared.items("train"))
    save_serving(load_model(tmp_path / "model", items), tmp_path / "serving")
    serving, allowed = load_serving(tmp_path / "serving"), items.n_events > 0
    empty = np.zeros((N_USERS, 0))
    history = np.random.default_rng(1).integers(0, N_ITEMS, (N_USERS, 5))
    batch = UserBatch.from_numpy(np.arange(N_USERS), history, empty, empty, empty)
    expected = torch.zeros(N_USERS, N_ITEMS, dtype=torch.float64)
    with torch.inference_mode():
        for seed in (each["seed"] for each in trainings):
            member = build_model(STUDENT, N_USERS, N_ITEMS, items, FeatureSizes(), seed).eval()
            scores = member.score_users(batch, member.encode_items()).double()
            known = scores[:, allowed]
            expected += (scores - known.mean(dim=1, keepdim=True)) / known.std(dim=1, correction=0, keepdim=True)
        found = torch.from_numpy(serving.answer(batch).scores_of(np.tile(np.arange(N_ITEMS), (N_USERS, 1)))).double()
    centred = found - found[:, allowed].mean(dim=1, keepdim=True)
    torch.testing.assert_close(centred, expected, rtol=1e-4, atol=1e-4)


def test_stored_in_int8_the_bytes_are_those_on_disk(
    tmp_path: Path, prepared: Prepared, trainings: list[dict[str, Any]]
) -> None:
    whole, small = (train_copies(prepared, tmp_path / name, name) for name in ("float32", "int8"))  # type: ignore[arg-type]
    for name, trained in (("float32", whole), ("int8", small)):
        files = [tmp_path / name / file for file in ("model.json", "model.safetensors")]
        assert trained.bytes == sum(file.stat().st_size for file in files)
        assert storage_of(tmp_path / name) == name
    assert small.params == whole.params
    assert whole.bytes - small.bytes > 2 * N_ITEMS * (9 * 4 - 8 - 4 - 4) - 1000
    assert read_json(tmp_path / "int8" / "training.json")["bytes"] == small.bytes
    assert {member.bytes for member in whole.members} == {member.bytes for member in small.members}
