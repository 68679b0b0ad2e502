"""A night passes if it is good by itself and against the nights before it; each bound can block it alone."""

import re
from typing import Any

import pytest

from kdspark.config import GateConfig
from kdspark.errors import PublishError
from kdspark.stages.gate import as_facts, blocked, checks, metrics_of

GOOD: dict[str, Any] = {
    "name": "ndcg@10",
    "metric": 0.2,
    "popularity_metric": 0.1,
    "user_share": 1.0,
    "cold_share": 0.1,
    "flat_share": 0.0,
    "items": 100,
    "psi": {"scores": 0.02, "user_activity": 0.01},
    "overlap": 0.4,
    "day_events": 1000,
    "empty_day": False,
    "null_rates": {"interactions.user": 0.01, "items.brand": 0.2},
}
KEYS = {name for name in GateConfig.model_fields if name[:4] in ("min_", "max_")} - {"min_volume_nights"}
KEYS |= {"on_empty_day"}


def reasons(tonight: dict[str, Any], earlier: list[dict[str, Any]], **bounds: Any) -> str | None:
    return blocked(checks(GateConfig(**bounds), {**GOOD, **tonight}, earlier))


def test_a_night_like_the_others_passes() -> None:
    found = checks(GateConfig(max_score_psi=0.25), GOOD, [GOOD] * 3)
    assert blocked(found) is None
    assert {check.key for check in found} == KEYS
    assert all(fact["passed"] for fact in as_facts(found))


def test_a_first_night_is_judged_by_itself() -> None:
    first = {**GOOD, "overlap": None, "psi": {}}
    assert {check.key for check in checks(GateConfig(), first, [])} == {
        *("min_ratio_to_popularity", "min_user_share", "max_cold_share", "max_flat_share")
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": 0.09}, r"ndcg@10 over popularity's is 0\.9, below 1 \(`gate\.min_ratio_to_popularity`\)"),
        ({"metric": 0.15}, r"over that of last night's is 0\.75, below 0\.8"),
        ({"items": 30}, r"different items in lists over last night's is 0\.3, below 0\.5"),
        ({"user_share": 0.5}, r"share of users with a list is 0\.5, below 0\.9"),
        ({"cold_share": 0.25}, r"whom the model does not know, over last night's, is 0\.15, above 0\.1"),
        ({"flat_share": 0.2}, r"one score throughout is 0\.2, above 0\.05"),
        ({"overlap": 0.0}, r"in the same user's list last night is 0, below 0\.01"),
        ({"day_events": 400}, r"day's events over the usual one is 0\.4, below 0\.5 \(`gate\.min_volume`\)"),
        ({"day_events": 5000}, r"is 5, above 4 \(`gate\.max_volume`\)"),
        (
            {"null_rates": {"interactions.user": 0.03, "items.brand": 0.3, "items.new": 0.9}},
            r"missing values of items\.brand, over the usual one, is 0\.1, above 0\.05 \(`gate\.max_null_rise`\)",
        ),
        ({"day_events": 0, "empty_day": True}, r"^whether the log has an event of the day is 0, below 1 \(`gate\.on"),
    ],
)
def test_each_bound_blocks(changes: dict[str, Any], words: str) -> None:
    found = reasons(changes, [GOOD] * 3)
    assert found is not None
    assert re.search(words, found)


def test_volume_is_against_the_median_of_enough_nights() -> None:
    nights = [{"day_events": events} for events in (1000, 10, 1000, None, 0)]
    assert reasons({"day_events": 400}, nights[:2]) is None
    assert "0.4" in (reasons({"day_events": 400}, nights) or "")
    assert reasons({"day_events": None}, nights) is None
    assert reasons({"day_events": 400}, [{"day_events": 1000}], min_volume_nights=1, volume_nights=1) is not None


def test_an_empty_day_is_none_only_where_days_had_events() -> None:
    empty: dict[str, Any] = {"day_events": 0, "empty_day": True}
    assert reasons(empty, []) is None
    assert reasons(empty, [{**GOOD, **empty}] * 3) is None
    assert reasons(empty, [{**GOOD, **empty}, GOOD]) is not None
    assert reasons(empty, [GOOD] * 3, on_empty_day="publish") is None
    filtered = reasons({"day_events": 0}, [GOOD] * 3)  # it had some, which filters left out
    assert filtered is not None
    assert "min_volume" in filtered


def test_missing_values_are_against_the_median() -> None:
    nights = [{**GOOD, "null_rates": {"items.brand": share}} for share in (0.9, 0.2, 0.2)]
    assert reasons({"null_rates": {"items.brand": 0.3}}, nights) is not None
    assert reasons({"null_rates": {"items.brand": 0.24}}, nights) is None
    assert reasons({"null_rates": {"items.brand": 0.3}}, nights, max_null_rise=0.2) is None
    assert reasons({"null_rates": {"items.brand": 0.3}}, nights, volume_nights=1) is None


def test_a_share_of_cold_users_can_be_bounded() -> None:
    assert reasons({"cold_share": 0.95}, []) is None
    found = reasons({"cold_share": 0.95}, [], max_cold_share=0.9)
    assert found == "the share of users whom the model does not know is 0.95, above 0.9 (`gate.max_cold_share`)"


def test_a_shift_of_scores_can_be_bounded() -> None:
    shifted = {"psi": {"scores": 0.8, "user_activity": 0.9}}
    assert reasons(shifted, [GOOD]) is None
    found = reasons(shifted, [GOOD], max_score_psi=0.25)
    assert found == (
        "the shift of the scores in lists against last night's (PSI) is 0.8, above 0.25 (`gate.max_score_psi`)"
    )
    assert reasons({"psi": {}}, [], max_score_psi=0.25) is None


def test_another_metric_is_not_compared() -> None:
    assert reasons({"metric": 0.11}, [{"name": "recall@10", "metric": 0.9}]) is None


def comparison(student: float, popularity: float) -> Any:
    values = {"student": student, "popularity": popularity}
    return {"models": [{"model": name, "metrics": {"ndcg@10": {"value": value}}} for name, value in values.items()]}


def test_metrics_of_the_comparison() -> None:
    assert metrics_of(comparison(0.2, 0.1), "ndcg@10") == {"student": 0.2, "popularity": 0.1}
    with pytest.raises(PublishError, match="Choose one of: ndcg@10"):
        metrics_of(comparison(0.2, 0.1), "ndcg@7")
