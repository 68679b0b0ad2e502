"""A student measured alone against the comparison of its night."""

import json
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import SparkSession

from kdspark.report.comparison import STUDENT
from kdspark.stages.stage import Night
from kdspark.stages.trial import stages_up_to
from kdspark.workspace import parse_date
from tests.stages.tiny import runner_of, tiny_config


@pytest.mark.bench
def test_measured_alone_it_is_what_the_night_says(
    distill: ModuleType, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(tmp_path, evaluation={"ks": [5, 10], "bootstrap": 100, "head_share": 0.2})
    runner = runner_of(spark, tmp_path / "root", config)
    runner.run(stages_up_to("evaluate", runner.stages))
    comparison = json.loads((runner.output("evaluate") / "comparison.json").read_text())
    model = next(model for model in comparison["models"] if model["model"] == STUDENT)
    bench = distill.Bench(
        log=distill.Log("none.yaml", {}),
        date="2024-01-02",
        metrics=("recall@5", "ndcg@10", "recall_tail@10"),
        ndcg="ndcg@10",
    )
    (row,) = distill._rows({**comparison, "models": [model]}, "", 1, bench, seen=set())

    monkeypatch.setitem(distill.BENCHES, "distill-tiny", bench)
    monkeypatch.setattr(distill, "_variants", lambda bench, parts: iter([("bytes", "as it is", [])]))
    night = Night(runner.night.config, parse_date(bench.date), runner.night.workspace, lambda: spark)
    monkeypatch.setattr(distill, "night_of", lambda *_: night)
    result = distill.run("distill-tiny", None, tmp_path, [1], ["bytes"], [])
    whole, small = result["rows"]
    assert (whole["method"], small["method"]) == ("as it is, float32", "as it is, int8")
    assert whole["metrics"] == pytest.approx(row["metrics"], abs=1e-9)
    assert {*small["metrics"]} == {*row["metrics"]}
    for key in ("params", "bytes", "seconds", "epoch_seconds"):
        assert whole[key] == pytest.approx(row[key])
    assert small["bytes"] != whole["bytes"]
    assert result["ratios"] == {}
    assert "recall_tail@10" in distill.text_table(result)
