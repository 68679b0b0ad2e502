"""The metrics of a run, parsed again as Prometheus does."""

import datetime as dt
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from kdspark.report.prometheus import Sizes, metrics_text

ROW: dict[str, Any] = {
    "date": dt.date(2024, 1, 2),
    "run": "abc",
    "recorded": dt.datetime(2024, 1, 3, tzinfo=dt.timezone.utc),
    "published": True,
    "outcome": "published",
    "metric_name": "ndcg@10",
    "student_metric": 0.25,
    "teacher_metric": None,
    "users": 40,
    "null_rates": {'items."odd"\n': 0.5},
    "psi": {"user_activity": 0.01},
}
SIZES: Sizes = {
    "seconds": {"prepare": 1.5},
    "rows": {("prepare", "interactions"): 320},
    "bytes": {"prepare": 99},
    "model_bytes": {"student": 7},
}


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = list(text_string_to_metric_families(text.decode()))
    assert all(family.documentation and family.type == "gauge" for family in families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def of(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[f"kdspark_{name}", frozenset({"name": "shop", **labels}.items())]


def test_a_good_night() -> None:
    found = samples(metrics_text("shop", ROW, SIZES, 1704240000.5))
    assert of(found, "night_info", date="2024-01-02", run="abc", outcome="published") == 1
    assert of(found, "night_success") == of(found, "night_published") == 1
    assert of(found, "night_end_timestamp_seconds") == 1704240000
    assert of(found, "latest_published_timestamp_seconds") == 1704240000.5
    assert of(found, "quality", model="student", metric="ndcg@10") == 0.25
    assert of(found, "users") == 40
    assert of(found, "null_share", column='items."odd"\n') == 0.5
    assert of(found, "psi", distribution="user_activity") == 0.01
    assert of(found, "stage_seconds", stage="prepare") == 1.5
    assert of(found, "stage_bytes", stage="prepare") == 99
    assert of(found, "stage_rows", stage="prepare", table="interactions") == 320
    assert of(found, "model_bytes", model="student") == 7
    assert not [name for name, labels in found if ("model", "teacher") in labels]


def test_a_blocked_night_and_a_kept_one() -> None:
    nothing: Sizes = {"seconds": {}, "rows": {}, "bytes": {}, "model_bytes": {}}
    row = {**ROW, "published": False}
    blocked = samples(metrics_text("shop", {**row, "outcome": "blocked"}, nothing, None))
    assert of(blocked, "night_success") == of(blocked, "night_published") == 0
    assert not [name for name, _ in blocked if "latest" in name]
    kept = samples(metrics_text("shop", {**row, "outcome": "kept"}, nothing, 5.0))
    assert (of(kept, "night_success"), of(kept, "night_published")) == (1, 0)
