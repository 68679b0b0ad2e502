"""The quality gate: a night is published only if it is good by itself and against the nights before it.

What it looks at is kept in the manifest of every published run, where the next nights find it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from kdspark.config import GateConfig
from kdspark.errors import PublishError
from kdspark.report.comparison import POPULARITY, STUDENT, Comparison, find_model
from kdspark.stages.health import Health

EMPTY = "on_empty_day"
_WORDS = {
    "min_ratio_to_popularity": "the student's {metric} over popularity's",
    "min_ratio_to_previous": "the student's {metric} over that of last night's",
    "min_items_to_previous": "the number of different items in lists over last night's",
    "min_user_share": "the share of users with a list",
    "max_cold_share": "the share of users whom the model does not know",
    "max_cold_rise": "the share of users whom the model does not know, over last night's,",
    "max_flat_share": "the share of users with one score throughout",
    "max_score_psi": "the shift of the scores in lists against last night's (PSI)",
    "min_overlap_with_previous": "the share of items that were in the same user's list last night",
    "min_volume": "the number of the day's events over the usual one",
    "max_volume": "the number of the day's events over the usual one",
    "on_empty_day": "whether the log has an event of the day",
    "max_null_rise": "the share of missing values of {column}, over the usual one,",
}


@dataclass(frozen=True)
class Check:
    """One look at a night.

    Attributes:
        key: of the configuration, whose bound it is.
        value: what was found.
        bound: how much it has to be at least, or at most.
        words: what was found, for people.
        passed: whether it is within the bound.
    """

    key: str
    value: float
    bound: float
    words: str
    passed: bool


def metrics_of(comparison: Comparison, metric: str) -> dict[str, float]:
    """The student's and popularity's figure.

    Raises:
        PublishError: it was not computed.
    """
    found = {}
    for name in (STUDENT, POPULARITY):
        model = find_model(comparison, name)
        metrics = model["metrics"] if model is not None else {}
        value = metrics[metric]["value"] if metric in metrics else None
        if value is None:
            known = ", ".join(sorted(metrics))
            raise PublishError(f"`gate.metric`: {metric!r} was not computed.", f"Choose one of: {known}.")
        found[name] = float(value)
    return found


def checks(config: GateConfig, tonight: Health, earlier: Sequence[Health]) -> list[Check]:
    """All looks at a night for which there are figures.

    Args:
        tonight: as far as it is known: `metric` and `popularity_metric`, figures of the metric `name`; `user_share`, of
            users with a list; `cold_share`, `flat_share` and `items` (`spark.audit`); `overlap` with last night's
            lists; `day_events`, those of the night's own day, and `empty_day`, whether there is none; `null_rates`;
            `psi`.
        earlier: the same of the nights before, the latest first.
    """
    last: Health = earlier[0] if earlier else {}
    volumes = [volume for night in earlier[: config.volume_nights] if (volume := night.get("day_events"))]
    usual = median(volumes) if len(volumes) >= config.min_volume_nights else None
    same = last.get("name") == tonight.get("name")
    empty = tonight.get("empty_day", False)  # which is another check's
    quality, volume = tonight.get("metric"), None if empty else _ratio(tonight.get("day_events"), usual)
    column, rise = _null_rise(tonight, earlier[: config.volume_nights])
    cold = tonight.get("cold_share")
    values = {
        "min_ratio_to_popularity": _ratio(quality, tonight.get("popularity_metric")),
        "min_ratio_to_previous": _ratio(quality, last.get("metric") if same else None),
        "min_items_to_previous": _ratio(tonight.get("items"), last.get("items")),
        "min_user_share": tonight.get("user_share"),
        "max_cold_share": cold,
        "max_cold_rise": None if cold is None or "cold_share" not in last else cold - last["cold_share"],
        "max_flat_share": tonight.get("flat_share"),
        "max_score_psi": None if config.max_score_psi is None else tonight.get("psi", {}).get("scores"),
        "min_overlap_with_previous": tonight.get("overlap"),
        "min_volume": volume,
        "max_volume": volume,
        EMPTY: None if config.on_empty_day == "publish" or not volumes else float(not empty),
        "max_null_rise": rise,
    }
    return [_check(config, key, value, column) for key, value in values.items() if value is not None]


def blocked(found: Sequence[Check]) -> str | None:
    """What blocks the night, by how much, in words; None if nothing does."""
    reasons = [
        f"{check.words} is {check.value:.4g}, {'below' if check.value < check.bound else 'above'} {check.bound:g} "
        f"(`gate.{check.key}`)"
        for check in found
        if not check.passed
    ]
    return "; ".join(reasons) or None


def as_facts(found: Sequence[Check]) -> list[dict[str, Any]]:
    """For a manifest."""
    return [{"check": one.key, "value": one.value, "bound": one.bound, "passed": one.passed} for one in found]


def _ratio(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None


def _null_rise(tonight: Health, earlier: Sequence[Health]) -> tuple[str, float | None]:
    """The column whose share of missing values is most above its median, and by how much."""
    rises = {
        column: share - median(before)
        for column, share in tonight.get("null_rates", {}).items()
        if (before := [night["null_rates"][column] for night in earlier if column in night.get("null_rates", {})])
    }
    worst = max(rises, key=lambda column: (rises[column], column), default="")
    return worst, rises.get(worst)


def _check(config: GateConfig, key: str, value: float, column: str) -> Check:
    bound = 1.0 if key == EMPTY else float(getattr(config, key))
    at_least = key.startswith("min_") or key == EMPTY
    words = _WORDS[key].format(metric=config.metric, column=column)
    return Check(key, value, bound, words, value >= bound if at_least else value <= bound)
