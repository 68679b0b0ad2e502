"""The teacher's vectors, from its serving bundle through the soft labels to the student's losses; and who has none."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pyspark.sql import SparkSession

from kdspark.config import parse_config
from kdspark.errors import ConfigError
from kdspark.models.storage import load_item_vectors, save_model
from kdspark.stages import teacher
from kdspark.stages.pipeline import run_night, stages_of
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.tables import PAD
from kdspark.workspace import Workspace, parse_date, read_json
from tests.config.test_load import minimal
from tests.models import zoo

LOSSES = [
    {"kind": "de"},
    {"kind": "topology", "groups": 3},
    {"kind": "cd", "guide": "student", "reach": 10},
    {"kind": "rce", "top": 5, "reach": 10, "refresh": 1},
]
STAGES = ["prepare", "train_teacher", "soft_labels", "train_student"]


def config(log: Path, **distill: Any) -> dict[str, Any]:
    training = {"epochs": 2, "learning_rate": 0.05}
    return {
        "data": {
            "interactions": {"paths": str(log), "format": "csv"},
            "columns": {"user": "u", "item": "i", "timestamp": "t"},
            "features": {"history_length": 8},
            "examples": {"history_length": 8, "max_positions": 3},
        },
        "teacher": {"kind": "gru", "dim": 6, "history_length": 8, "training": training},
        "student": {"kind": "bag", "dim": 3, "history_length": 8, "training": training},
        "soft_labels": {"top_k": 5, "tail": 5},
        "distill": distill,
        "scoring": {"k": 5},
        "evaluation": {"ks": [5]},
        "gate": {"metric": "ndcg@5"},
    }


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """40 users who walk through 25 items from a start of their own, by steps of their own."""
    rows = [(u, (u * 7 + n * (1 + u % 3)) % 25, n + 1) for u in range(40) for n in range(8)]
    pd.DataFrame(rows, columns=["u", "i", "t"]).to_csv(tmp_path / "log.csv", index=False)
    return tmp_path / "log.csv"


@pytest.mark.slow
def test_losses_on_vectors_train_in_a_night(spark: SparkSession, tmp_path: Path, log: Path) -> None:
    made = parse_config(config(log, losses=LOSSES, **{"lambda": 0.0}))
    night = Night(made, parse_date("2024-01-02"), Workspace(tmp_path / "root"), lambda: spark)
    runner = Runner(night, stages_of(made))
    runner.run(STAGES)
    assert set(runner.manifest("train_student").inputs) == {"prepare", "soft_labels", "train_teacher"}
    curve = read_json(runner.output("train_student") / "model" / "training.json")["curve"]
    assert {"hard", "de", "topology", "cd", "rce"} < set(curve[0])
    assert curve[-1]["loss"] < curve[0]["loss"]
    labels = pd.read_parquet(runner.output("soft_labels") / "soft_labels")
    users_BE, candidates, logits = (
        torch.tensor(np.stack(labels[c])) for c in ("teacher_vector", "candidates", "logits")
    )
    scores = users_BE @ load_item_vectors(runner.output("train_teacher") / "serving").T
    present = candidates != PAD
    expected = scores.gather(1, candidates.long().clamp(min=0))
    torch.testing.assert_close(logits[present], expected[present], rtol=1e-4, atol=1e-5)
    assert (users_BE != 0).any(dim=1).all()


def test_labels_hold_vectors_only_where_they_are_read(tmp_path: Path, log: Path) -> None:
    settings, needs = {}, {}
    for name, losses in {"none": [], "items": [{"kind": "de", "rows": "items"}], "both": [{"kind": "de"}]}.items():
        made = parse_config(config(log, losses=losses))
        night = Night(made, parse_date("2024-01-02"), Workspace(tmp_path), lambda: pytest.fail("no session needed"))
        stages = stages_of(made)
        settings[name] = stages["soft_labels"].settings(night)
        needs[name] = set(stages["train_student"].needs)
    usual = night.config.soft_labels.model_dump(mode="json", exclude={"positions"})
    assert settings["none"] == settings["items"] == {"soft_labels": usual}
    assert settings["both"] != settings["none"]
    assert needs["items"] == needs["both"] == needs["none"] | {"train_teacher"}


def test_a_pretrained_teacher_without_short_vectors_is_refused_before_any_work(tmp_path: Path) -> None:
    for name in ("gfcf", "gru"):
        save_model(zoo.ZOO[name](), tmp_path / name)
    member = {"kind": "pretrained", "path": str(tmp_path / "gfcf")}
    values = {**minimal(), "teacher": {"kind": "ensemble", "members": [{"kind": "als"}, member]}}
    made = parse_config({**values, "distill": {"losses": [{"kind": "de"}]}})
    night = Night(made, parse_date("2024-01-02"), Workspace(tmp_path), lambda: pytest.fail("no session needed"))
    with pytest.raises(ConfigError, match=r"de would read the teacher's vectors, but .*gfcf holds an item-item model"):
        run_night(night)
    teacher.check_vectors(parse_config(values))
    values["teacher"] = {"kind": "pretrained", "path": str(tmp_path / "gru")}
    teacher.check_vectors(parse_config({**values, "distill": {"losses": [{"kind": "de"}]}}))
