"""Models that diverge or are bad, and lists that no reader should see: faults 23, 24 and 25."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kdspark.errors import PublishError, TrainingError
from kdspark.spark.audit import as_rows
from kdspark.stages import publish
from kdspark.stages.pipeline import run_night, stages_of
from kdspark.stages.runner import Runner
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
    assert sum(health["histograms"]["scores"].values()) == health["rows"]
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
    assert latest.manifest["health"]["psi"]["scores"] > 0


@pytest.fixture(scope="module")
def judged(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A night whose lists wait for the audit, in a place where another night is published."""
    folder = tmp_path_factory.mktemp("judged")
    gate = {"metric": "ndcg@5", "min_ratio_to_popularity": 0.0, "max_score_psi": 0.25}
    config = {**tiny_config(folder), "gate": gate}
    run_night(runner_of(spark, folder / "root", config).night)
    night = replace(runner_of(spark, folder / "root", config).night, date=parse_date("2024-01-03"))
    runner = Runner(night, stages_of(night.config))
    runner.run(name for name in runner.stages if name != publish.NAME)
    return runner


BAD: list[tuple[str, Callable[[DataFrame], DataFrame], str]] = [
    ("not finite", lambda rows: rows.withColumn("score", F.expr("if(rank = 2, double('nan'), score)")), "non-finite"),
    ("twice", lambda rows: rows.unionByName(rows.filter("user_id = '7'")), "1 users with duplicate"),
    ("a gap", lambda rows: rows.filter("user_id <> '7' OR rank <> 2"), "1 users with gaps"),
    ("strange", lambda rows: rows.withColumn("item_id", F.expr("if(user_id = '7', '99', item_id)")), "duplicate"),
    ("unknown", lambda rows: rows.withColumn("item_id", F.expr("if(rank = 5, '99', item_id)")), "1 items that"),
    ("long", lambda rows: rows.unionByName(_sixth(rows)), "1 users with more than k=5"),
    ("swollen", lambda rows: rows.withColumn("score", F.col("score") * 64), r"gate\.max_score_psi"),
    ("few", lambda rows: rows.filter("user_id < '3'"), r"gate\.min_user_share"),
]


def _sixth(rows: DataFrame) -> DataFrame:
    of_one = rows.filter("user_id = '7' AND rank = 5")
    return of_one.withColumn("rank", F.lit(6)).withColumn("item_id", F.lit("a sixth"))


@pytest.mark.faults
@pytest.mark.parametrize(("kind", "spoil", "problem"), BAD)
def test_fault_25_lists_that_are_bad_before_the_audit(
    judged: Runner,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    spoil: Callable[[DataFrame], DataFrame],
    problem: str,
) -> None:
    publication = judged.night.publication
    latest, runs = publication.latest(), publication.runs()
    monkeypatch.setattr(publish, "as_rows", lambda rows: spoil(as_rows(rows)))
    with pytest.raises(PublishError, match=problem):
        judged.run([publish.NAME])
    assert publication.latest() == latest
    assert publication.runs() == runs


@pytest.mark.faults
def test_fault_25_good_lists_pass(judged: Runner) -> None:
    judged.run([publish.NAME])
    assert judged.night.publication.latest().date == parse_date("2024-01-03")
