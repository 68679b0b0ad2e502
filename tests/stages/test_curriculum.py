"""A night whose student follows the way its teacher went."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.bridge.neural import Job, train_process
from kdspark.bridge.snapshots import snapshot
from kdspark.models.storage import describe_folder
from kdspark.stages.pipeline import stages_of
from kdspark.stages.runner import Runner
from tests.stages.tiny import runner_of, tiny_config

TRAINING = {"epochs": 3, "learning_rate": 0.05, "patience": 1}
TABLES = ["soft_labels_1", "soft_labels_2", "soft_labels"]


@pytest.mark.slow
def test_states_are_labelled_and_learned_from(spark: SparkSession, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, distill={"curriculum": {"snapshots": 2}})
    config["teacher"]["training"] = config["student"]["training"] = {**TRAINING, "keep": "last"}
    runner = runner_of(spark, tmp_path / "root", config)
    runner.run(["prepare", "train_teacher", "soft_labels", "train_student"])
    model = runner.output("train_teacher") / "model"
    weights = [describe_folder(folder)["sha256"] for folder in (snapshot(model, 1), snapshot(model, 2), model)]
    assert len(set(weights)) == 3
    labels = [pd.read_parquet(runner.output("soft_labels") / name) for name in TABLES]
    assert len({frame["teacher_id"][0] for frame in labels}) == 3
    for frame in labels[:-1]:
        pd.testing.assert_frame_equal(frame[["user_idx", "position"]], labels[-1][["user_idx", "position"]])
        assert not np.array_equal(np.stack(frame["logits"]), np.stack(labels[-1]["logits"]))
    assert set(runner.manifest("soft_labels").rows) == set(TABLES)
    _resumes_to_the_bit(runner, tmp_path)


def _resumes_to_the_bit(runner: Runner, folder: Path) -> None:
    """A student that stopped before the last move ends as the night's did, and another way leads elsewhere."""
    night = runner.night.config
    *easier, hardest = [str(runner.output("soft_labels") / name) for name in TABLES]
    job = Job(
        config=night.student.model_dump(mode="json"),
        prepared=str(runner.output("prepare")),
        scope="train",
        checkpoints=str(folder / "checkpoints"),
        seed=night.seed,
        out=str(folder / "stopped"),
        rows=hardest,
        easier=easier,
        distill=night.distill.model_dump(mode="json", by_alias=True),
        top_k=night.soft_labels.top_k,
        stop_after=2,
    )
    resumed = replace(job, stop_after=None, out=str(folder / "resumed"))
    other = replace(
        resumed, easier=easier[::-1], checkpoints=str(folder / "other-checkpoints"), out=str(folder / "other")
    )
    for one in (job, resumed, other):
        train_process(asdict(one))
    found = {name: describe_folder(folder / name)["sha256"] for name in ("stopped", "resumed", "other")}
    assert found["resumed"] == describe_folder(runner.output("train_student") / "model")["sha256"]
    assert len(set(found.values())) == 3


def test_what_is_off_leaves_no_trace_in_the_settings(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config["teacher"]["training"] = config["student"]["training"] = TRAINING
    with_one = {**config, "distill": {"curriculum": {}}}
    plain, curriculum = (runner_of(None, tmp_path, one) for one in (config, with_one))  # type: ignore[arg-type]
    for name in ("train_teacher", "soft_labels"):
        off, on = (runner.stages[name].settings(runner.night) for runner in (plain, curriculum))
        assert on == {**off, "snapshots": 2}
        assert "snapshots" not in off
    assert [*stages_of(plain.night.config)] == [*stages_of(curriculum.night.config)]
