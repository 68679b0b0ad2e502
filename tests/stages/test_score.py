"""What the nightly lists depend on."""

from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession

from kdspark.stages import score
from tests.stages.tiny import runner_of, tiny_config


def settings(spark: SparkSession, folder: Path, rules: dict[str, object] | None) -> dict[str, object]:
    config = tiny_config(folder, scoring={"k": 5, **({"rules": rules} if rules else {})})
    night = runner_of(spark, folder / "root", config).night
    found = score.stage(night.config).settings(night)
    assert isinstance(found, dict)
    return found


def test_lists_are_made_anew_where_a_table_of_rules_has_changed(spark: SparkSession, tmp_path: Path) -> None:
    pd.DataFrame({"item": [1, 2]}).to_csv(tmp_path / "denied.csv", index=False)
    rules = {"lists": [{"kind": "deny", "paths": str(tmp_path / "denied.csv"), "format": "csv", "item": "item"}]}
    before = settings(spark, tmp_path, rules)
    assert settings(spark, tmp_path, rules) == before
    pd.DataFrame({"item": [1, 2, 3]}).to_csv(tmp_path / "denied.csv", index=False)
    assert settings(spark, tmp_path, rules) != before
    assert set(settings(spark, tmp_path, None)) == {"scoring", "date"}
