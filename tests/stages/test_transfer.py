"""A teacher of one shop that goes on learning in another, which sells some of the same items under the same ids."""

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.errors import ModelError
from tests.stages.tiny import runner_of, tiny_config


@pytest.mark.slow
def test_a_teacher_moves_to_another_workspace(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
    first = runner_of(spark, tmp_path / "root", tiny_config(tmp_path / "there"))
    first.run(["prepare", "train_teacher"])
    model = first.output("train_teacher") / "model"
    config = tiny_config(tmp_path / "here")
    config["teacher"] = {"kind": "transfer", "path": str(model), "training": {"epochs": 2}}
    log = pd.read_csv(tmp_path / "here" / "log.csv")
    log["i"] = (log["i"] + 5).astype(str)  # items 0 to 4 are not sold here
    log["u"] = "u" + log["u"].astype(str)
    log.to_csv(tmp_path / "here" / "log.csv", index=False)
    second = runner_of(spark, tmp_path / "other-root", config)
    settings = second.stages["train_teacher"].settings(second.night)
    assert settings["transferred"][str(model)].endswith(first.manifest("prepare").key)
    second.run(["prepare", "train_teacher"])
    facts = second.manifest("train_teacher").facts
    assert facts["transferred"] == {"known": 20, "items": 25, "share": 0.8}
    assert len(facts["curve"]) == 2
    config["teacher"]["vocabulary"] = str(second.output("prepare"))
    with pytest.raises(ModelError, match="was trained on other items"):
        runner_of(spark, tmp_path / "other-root", config).run(["train_teacher"])
