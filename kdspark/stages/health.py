"""The figures of a night: what the gate looks at, what the next nights compare theirs with, what the history shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from kdspark.report.comparison import STUDENT, STUDENT_PLAIN, TEACHER, Comparison, find_model, value_of
from kdspark.spark.drift import Histograms
from kdspark.spark.nulls import shares, since
from kdspark.stages.drift import psi
from kdspark.stages.inputs import LOG

Health = Mapping[str, Any]


def of_inputs(
    rows: Mapping[str, int], facts: Mapping[str, Any], earlier: Sequence[Health], more: Histograms | None = None
) -> dict[str, Any]:
    """What stage prepare found.

    Args:
        rows, facts: of its manifest.
        earlier: figures of the published nights before, the latest first.
        more: histograms of what was made of it.

    Returns:
        day_events: of the night's own day, that filters left; None where the log has no clock.
        empty_day: whether the log had none before filters, either.
        log_events, known_users, known_items: in all, ids of side tables among them.
        new_users, new_items: how many more than on the last published night, as a share of tonight's.
        nulls: missing values in all that was read, by input.
        null_rates: `<input>.<column>` -> share of missing values; in the log, of the rows that have come since.
        histograms: see `spark.drift`; of `scores` where there are lists.
        psi: how far each of these is from the last published night's.
    """
    last: Health = earlier[0] if earlier else {}
    known = {"known_users": rows.get("user_ids"), "known_items": rows.get("item_ids")}
    histograms, nulls = facts.get("histograms", {}) | (more or {}), facts.get("nulls", {})
    fresh = {LOG: since(nulls[LOG], last.get("nulls", {}).get(LOG))} if LOG in nulls else {}
    return {
        "day_events": facts.get("day_events"),
        "empty_day": facts.get("empty_day", False),
        "log_events": rows.get("interactions"),
        **known,
        "new_users": _share_of_new(known["known_users"], last.get("known_users")),
        "new_items": _share_of_new(known["known_items"], last.get("known_items")),
        "nulls": nulls,
        "null_rates": shares(nulls | fresh),
        "histograms": histograms,
        "psi": {
            name: found
            for name, now in histograms.items()
            if (found := psi(last.get("histograms", {}).get(name, {}), now)) is not None
        },
    }


def of_models(comparison: Comparison, metric: str) -> dict[str, float | None]:
    """What the teacher and the plain student reach in the gate's metric, and the catalogue's share in the student's
    lists."""
    student = find_model(comparison, STUDENT)
    return {
        "teacher_metric": value_of(find_model(comparison, TEACHER), metric),
        "plain_metric": value_of(find_model(comparison, STUDENT_PLAIN), metric),
        "coverage": value_of(student, f"coverage@{metric.partition('@')[2]}"),
    }


def _share_of_new(now: int | None, before: int | None) -> float | None:
    return max(0.0, (now - before) / now) if now and before is not None else None
