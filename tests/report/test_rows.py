"""Rows of the report's tables, by hand."""

import re

from kdspark.report import rows
from tests.report.sample import comparison, spread


def test_columns_are_those_that_some_model_has():
    assert rows.columns(comparison(), 10) == [
        f"{name}@10" for name in ("recall", "mrr", "coverage", "novelty", "diversity")
    ]
    assert rows.columns(comparison(), 7) == []


def test_a_models_row():
    row = rows.model_rows(comparison(), "ndcg@10", ["recall@10", "diversity@10", "novelty@10"])[-1]
    assert (row["title"], row["params"], row["megabytes"], row["train"]) == ("Student, distilled", 41_230, "0.17", "55")
    assert row["chosen"]
    assert row["cells"][0] == {"value": "0.1913", "range": "0.183\u20130.199"}
    assert row["cells"][2]["value"] == "10.011"
    popularity = rows.model_rows(comparison(), "ndcg@10", ["diversity@10"])[0]
    assert popularity["cells"] == [{"value": "-", "range": ""}]
    assert not popularity["chosen"]


def test_intervals_share_one_scale():
    sample = comparison()
    for result, value in zip(sample["models"], (0.1, 0.2, 0.3, 0.4, 0.5), strict=True):
        result["metrics"]["ndcg@10"] = spread(value, 0.1)
    drawn = [row["forest"] for row in rows.model_rows(sample, "ndcg@10", [])]
    # 0.0 to 0.6 on pixels 10 to 150: 0.1 is 23.33 pixels
    centres = [float(re.search(r'<circle cx="([\d.]+)"', svg).group(1)) for svg in drawn]
    assert centres == [33.3, 56.7, 80.0, 103.3, 126.7]
    assert 'x1="10.0" x2="56.7"' in drawn[0]
    assert "0.1000, 0.0000 to 0.2000" in drawn[0]


def test_pairs_are_judged_by_their_intervals():
    found = {(row["models"], row["metric"]): row for row in rows.pair_rows(comparison(), 10)}
    assert len(found) == 6  # map@5 is not shown
    plain = found["Student, distilled minus Student without distillation", "ndcg@10"]
    assert (plain["difference"], plain["range"], plain["p_value"]) == ("+0.0072", "+0.0012 to +0.0132", "0.012")
    assert plain["judgement"] == "good"
    assert found["Student, distilled minus Teacher", "ndcg@10"]["judgement"] == ""
    assert found["Student, distilled minus Popularity", "recall@10"]["p_value"] == "< 0.001"


def test_head_and_tail():
    assert rows.part_columns(comparison(), 10) == [
        (part, f"{name}@10") for part in ("head", "tail") for name in ("recall", "ndcg")
    ]
    student = rows.part_rows(comparison(), 10)[-1]
    assert [cell["value"] for cell in student["cells"]] == ["0.2095", "0.1093", "0.0456", "0.0273"]
    sample = comparison()
    for result in sample["models"]:
        result["slices"]["popularity"] = []
    assert rows.part_rows(sample, 10) == []


def test_every_metric_is_sorted_by_name_and_cut_off():
    names = [row["metric"] for row in rows.every_metric(comparison())]
    assert names[:3] == ["coverage@5", "coverage@10", "coverage@20"]
    assert len(names) == len(set(names)) == 8 * 3
