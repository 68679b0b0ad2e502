"""The comparison of a night's models: the shape of comparison.json, a text table of it, and its JSON form.

`evaluate` writes it; `kdspark compare` and the HTML report read it. Order of dict keys means nothing here (JSON files
are written with sorted keys); models come in the order popularity, als, teacher, assistant where there is one,
student_plain, student.
"""

import re
from collections.abc import Sequence
from typing import Any, TypedDict

from kdspark.ranking.bootstrap import Interval

COMPARISON, REPORT = "comparison.json", "report.html"
POPULARITY, ALS, TEACHER, STUDENT_PLAIN, STUDENT = "popularity", "als", "teacher", "student_plain", "student"
ASSISTANT = "assistant"


class ActivitySlice(TypedDict):
    """One group of users by their number of training events."""

    label: str
    users: int
    metrics: dict[str, Interval]


class PopularitySlice(TypedDict):
    """Accuracy on the head or the tail of the items ("head", "tail"); metric names as everywhere."""

    label: str
    metrics: dict[str, Interval]


class Slices(TypedDict):
    """A model's metrics by part."""

    activity: list[ActivitySlice]
    popularity: list[PopularitySlice]


class ModelResult(TypedDict):
    """One model: what it costs and how good it is."""

    model: str
    title: str
    params: int
    bytes: int
    encode_seconds: float
    score_seconds: float
    train_seconds: float
    metrics: dict[str, Interval]
    slices: Slices
    exposure: list[tuple[float, float]]  # upper popularity percentile of a bin, its share of recommendations


class PairedResult(TypedDict):
    """Difference a - b of one metric, over the same users."""

    a: str
    b: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None


class Comparison(TypedDict):
    """The whole of comparison.json."""

    date: str
    run_id: str
    dataset: dict[str, Any]
    models: list[ModelResult]
    paired: list[PairedResult]
    curves: dict[str, list[dict[str, Any]]]


def as_json(comparison: Comparison) -> list[dict[str, Any]]:
    """One object per model: model, params, bytes, encode_seconds, score_seconds, metrics {name: {value, low, high}}."""
    keys = ("model", "params", "bytes", "encode_seconds", "score_seconds", "metrics")
    return [{key: dict(result)[key] for key in keys} for result in comparison["models"]]


def table(comparison: Comparison) -> str:
    """The models side by side for a terminal, and below it what distillation kept and gained."""
    k = primary_k(comparison)
    names = [name for name in _table_metrics(k) if any(name in model["metrics"] for model in comparison["models"])]
    header = ["model", "params", "MB", "encode s", "score s", *names]
    rows = [header, *(_row(result, names) for result in comparison["models"])]
    return "\n".join([*aligned(rows), "", *ratio_lines(comparison, f"ndcg@{k}")])


def primary_k(comparison: Comparison) -> int:
    """The cut-off that headlines use: 10 if it was computed, else the largest."""
    ks = cut_offs(comparison)
    return 10 if 10 in ks else max(ks, default=10)


def cut_offs(comparison: Comparison) -> list[int]:
    """Every k at which NDCG was computed, ascending."""
    found = (re.fullmatch(r"ndcg@(\d+)", name) for model in comparison["models"] for name in model["metrics"])
    return sorted({int(match[1]) for match in found if match})


def find_model(comparison: Comparison, model: str) -> ModelResult | None:
    """The result of a model, None if it was not evaluated."""
    return next((result for result in comparison["models"] if result["model"] == model), None)


def find_pair(comparison: Comparison, a: str, b: str, metric: str) -> PairedResult | None:
    """The paired result a - b of a metric, None if it was not computed."""
    wanted = (a, b, metric)
    return next((pair for pair in comparison["paired"] if (pair["a"], pair["b"], pair["metric"]) == wanted), None)


def value_of(result: ModelResult | None, metric: str) -> float | None:
    """A metric's estimate, None where there is none."""
    return result["metrics"][metric]["value"] if result is not None and metric in result["metrics"] else None


def ratio_lines(comparison: Comparison, metric: str) -> list[str]:
    """For student / teacher, / assistant and / student_plain: ratio of the metric and the paired difference."""
    lines = []
    for a, b in ((STUDENT, TEACHER), (STUDENT, ASSISTANT), (STUDENT, STUDENT_PLAIN)):
        one, other = find_model(comparison, a), find_model(comparison, b)
        upper, lower = value_of(one, metric), value_of(other, metric)
        if one is None or other is None or upper is None or not lower:
            continue
        line = (
            f"{a} / {b}: {upper / lower:.3f} of {metric}, {percent(one['params'], other['params'])} of the parameters"
        )
        pair = find_pair(comparison, a, b, metric)
        if pair is not None and pair["difference"] is not None:
            line += f"; difference {pair['difference']:+.4f} [{pair['low']:+.4f}, {pair['high']:+.4f}]"
            line += f", p = {pair['p_value']:.3g}"
        lines.append(line)
    return lines


def percent(part: float, whole: float) -> str:
    """A share such as "6.1%"; a dash if there is no whole."""
    return f"{100 * part / whole:.1f}%" if whole else "-"


def number(value: float | None, digits: int = 4) -> str:
    """A metric for people; a dash where undefined."""
    return "-" if value is None else f"{value:.{digits}f}"


def _table_metrics(k: int) -> list[str]:
    return [f"{name}@{k}" for name in ("ndcg", "recall", "hit_rate", "mrr", "coverage", "novelty")]


def _row(result: ModelResult, names: Sequence[str]) -> list[str]:
    cells = []
    for index, name in enumerate(names):
        found = result["metrics"].get(name)
        cell = number(found["value"]) if found else "-"
        if index == 0 and found and found["low"] is not None:
            cell += f" [{number(found['low'])}, {number(found['high'])}]"
        cells.append(cell)
    costs = [f"{result['params']:,}", f"{result['bytes'] / 1e6:.2f}"]
    seconds = [f"{result['encode_seconds']:.2f}", f"{result['score_seconds']:.2f}"]
    return [result["model"], *costs, *seconds, *cells]


def aligned(rows: list[list[str]]) -> list[str]:
    """The lines of a text table: first column to the left, the others to the right, a rule below the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
