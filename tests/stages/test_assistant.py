"""A night with an assistant: who learns from whom."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.models.storage import describe_folder
from kdspark.stages.pipeline import stages_of
from tests.stages.tiny import runner_of, tiny_config

ASSISTANT = {"model": {"kind": "bag", "dim": 4, "history_length": 8, "training": {"epochs": 2, "learning_rate": 0.05}}}

STAGES = ["prepare", "train_teacher", "soft_labels", "train_assistant", "assistant_labels", "train_student"]


@pytest.mark.slow
def test_the_student_learns_from_the_assistant_and_it_from_the_teacher(spark: SparkSession, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, assistant=ASSISTANT, distill={"losses": [{"kind": "de"}]})
    runner = runner_of(spark, tmp_path / "root", config)
    runner.run(STAGES)
    answered = {"soft_labels": "train_teacher", "assistant_labels": "train_assistant"}
    labels = {name: pd.read_parquet(runner.output(name) / "soft_labels") for name in answered}
    for name, model in answered.items():
        bundle = describe_folder(runner.output(model) / "serving")
        assert set(labels[name]["teacher_id"]) == {bundle["sha256"][:16]}
    widths = {name: np.stack(found["teacher_vector"]).shape[1] for name, found in labels.items()}
    assert widths == {"soft_labels": 7, "assistant_labels": 5}  # `dim` and the bias
    keys = ["user_idx", "position"]
    pd.testing.assert_frame_equal(labels["soft_labels"][keys], labels["assistant_labels"][keys])
    params = [runner.manifest(name).facts["params"] for name in (*answered.values(), "train_student")]
    assert params == sorted(set(params), reverse=True)


def test_stages_meet_where_they_should(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, refit=True, distill={"losses": [{"kind": "de"}]})
    with_one = runner_of(None, tmp_path / "root", {**config, "assistant": ASSISTANT})  # type: ignore[arg-type]
    without = stages_of(runner_of(None, tmp_path / "root", config).night.config)  # type: ignore[arg-type]
    assert not [name for name in without if "assistant" in name]
    needs = {name: set(stage.needs) for name, stage in with_one.stages.items()}
    assert needs["train_assistant"] == {"prepare", "soft_labels", "train_teacher"}
    assert needs["assistant_labels"] == {"prepare", "train_assistant"}
    assert needs["train_student"] == {"prepare", "assistant_labels", "train_assistant"}
    assert needs["refit_assistant"] == {"prepare", "refit_labels", "refit_teacher", "train_assistant"}
    assert needs["refit_assistant_labels"] == {"prepare", "refit_assistant"}
    assert needs["refit_student"] == {"prepare", "refit_assistant_labels", "refit_assistant", "train_student"}
    assert with_one.stages["evaluate"].needs[2:] == ("train_teacher", "train_assistant", "train_plain", "train_student")
    assert without["train_student"].needs == ("prepare", "soft_labels", "train_teacher")


def test_each_answers_with_the_vectors_that_are_read(tmp_path: Path) -> None:
    """The assistant's own way of learning decides about the teacher's labels, the student's about the assistant's."""
    assistant = {**ASSISTANT, "distill": {"temperature": 2.0}}
    config = tiny_config(tmp_path, assistant=assistant, distill={"losses": [{"kind": "de"}]})
    config["teacher"] = {"kind": "ease"}  # without vectors, which nobody reads of it
    runner = runner_of(None, tmp_path / "root", config)  # type: ignore[arg-type]
    found = {name: runner.stages[name].settings(runner.night) for name in runner.stages if "label" in name}
    assert ["vectors" in found[name] for name in ("soft_labels", "assistant_labels")] == [False, True]
    assert runner.stages["train_assistant"].settings(runner.night)["distill"]["temperature"] == 2.0
