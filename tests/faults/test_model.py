"""Models that diverge, are bad, or do not fit: faults 23 and 24."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.errors import PublishError, TrainingError
from kdspark.stages.pipeline import run_night
from kdspark.workspace import parse_date
from tests.stages.tiny import runner_of, tiny_config

pytestmark = pytest.mark.slow


def test_fault_23_a_loss_that_is_not_finite_stops_the_night(spark: SparkSession, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    training = {"epochs": 4, "learning_rate": 1e30, "user_learning_rate": 1e30}
    config["teacher"] = {"kind": "mf", "dim": 6, "training": training}
    night = runner_of(spark, tmp_path / "root", config).night
    with pytest.raises(TrainingError, match="finite"):
        run_night(night)
    assert not (tmp_path / "root" / "latest.json").exists()
    assert not list((tmp_path / "root" / "stages" / "train_teacher").iterdir())


def test_fault_24_a_student_of_shuffled_events_is_blocked_by_last_nights(spark: SparkSession, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config["gate"] = {"metric": "ndcg@5", "min_ratio_to_popularity": 0.0}
    config["teacher"]["training"]["epochs"] = config["student"]["training"]["epochs"] = 20
    first = run_night(runner_of(spark, tmp_path / "root", config).night)
    before = first.night.publication.latest()
    health = before.manifest["health"]
    assert health["metric"] > 0.3  # who walks by steps is easily followed
    log = pd.read_csv(tmp_path / "log.csv")
    log["i"] = np.random.default_rng(0).permutation(log["i"])
    log.to_csv(tmp_path / "log.csv", index=False)
    night = replace(runner_of(spark, tmp_path / "root", config).night, date=parse_date("2024-01-03"))
    with pytest.raises(PublishError, match=r"The night is blocked: .*gate\.min_ratio_to_previous") as blocked:
        run_night(night)
    assert "below 0.8" in str(blocked.value)
    assert first.night.publication.latest() == before
    forced = run_night(replace(night, force=True))
    latest: Any = forced.night.publication.latest()
    assert latest.date == parse_date("2024-01-03")
    assert any("min_ratio_to_previous" in reason for reason in latest.manifest["forced"])
