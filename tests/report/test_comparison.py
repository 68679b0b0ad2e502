"""The text table and JSON form of a comparison, and the verdict's wording."""

import pytest

from kdspark.report.comparison import as_json, cut_offs, find_pair, primary_k, ratio_lines, table, value_of
from kdspark.report.verdict import label, verdict
from tests.report.sample import comparison


def test_json_has_one_object_per_model_with_the_promised_keys():
    objects = as_json(comparison())
    assert [one["model"] for one in objects] == ["popularity", "als", "teacher", "student_plain", "student"]
    assert set(objects[4]) == {"model", "params", "bytes", "encode_seconds", "score_seconds", "metrics"}
    assert objects[4]["metrics"]["ndcg@10"] == {"value": 0.0911, "low": pytest.approx(0.0831), "high": 0.0991}


def test_table_is_aligned_and_shows_interval_and_ratios():
    lines = table(comparison()).splitlines()
    assert len({len(line) for line in lines[:7]}) == 1
    assert lines[0].split()[:2] == ["model", "params"]
    student = next(line for line in lines if line.startswith("student "))
    assert "41,230" in student
    assert "0.17" in student
    assert "0.0911 [0.0831, 0.0991]" in student
    assert lines[-2].startswith("student / teacher: 0.989 of ndcg@10, 1.4% of the parameters; difference -0.0010 [")
    assert lines[-1].startswith("student / student_plain: 1.086 of ndcg@10, 100.0% of the parameters")


def test_primary_cut_off_is_ten_or_the_largest():
    sample = comparison()
    assert cut_offs(sample) == [5, 10, 20]
    assert primary_k(sample) == 10
    for model in sample["models"]:
        model["metrics"] = {name: found for name, found in model["metrics"].items() if not name.endswith("@10")}
    assert primary_k(sample) == 20
    assert "ndcg@20" in table(sample)


def test_missing_models_and_undefined_metrics_are_left_out():
    sample = comparison()
    sample["models"] = sample["models"][:2]
    assert ratio_lines(sample, "ndcg@10") == []
    assert verdict(sample).headline == "No teacher and student to compare"
    sample["models"][0]["metrics"]["ndcg@10"] = {"value": None, "low": None, "high": None}
    assert " - " in table(sample)
    assert value_of(None, "ndcg@10") is None
    assert find_pair(sample, "als", "popularity", "ndcg@10") is None


def test_verdict_follows_the_numbers():
    found = verdict(comparison())
    assert found.headline == "The student keeps 98.9% of its teacher's NDCG@10 with 1.4% of its parameters"
    assert found.details[0] == "It is better than the same student without distillation (+8.6%, p = 0.012)."
    assert found.details[1] == "It is better than popularity (+174.4%, p < 0.001)."
    assert found.details[2] == "The teacher is better than Spark ALS (+70.2%; not tested)."
    assert found.details[3].startswith("Encoding and scoring took 0.86 s")


def test_verdict_claims_no_gain_that_is_not_clear_and_names_a_loss():
    sample = comparison()
    pair = find_pair(sample, "student", "student_plain", "ndcg@10")
    pair["p_value"] = 0.2
    assert verdict(sample).details[0].startswith("No clear difference from the same student without distillation")
    sample["models"][4]["metrics"]["ndcg@10"]["value"] = 0.07
    pair["p_value"] = 0.01
    assert "worse than the same student" in verdict(sample).details[0]
    sample["models"][4]["metrics"]["ndcg@10"]["value"] = 0.1
    assert verdict(sample).headline.startswith("The student reaches 108.6%")


@pytest.mark.parametrize(
    ("metric", "name"),
    [("ndcg@10", "NDCG@10"), ("hit_rate@5", "Hit rate@5"), ("recall@20", "Recall@20"), ("f1@1", "F1@1")],
)
def test_labels(metric, name):
    assert label(metric) == name
