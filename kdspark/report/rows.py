"""The report's tables as plain rows of text, ready for the template; intervals as small drawings."""

from collections.abc import Iterable, Sequence
from typing import Any

from kdspark.ranking.bootstrap import Interval
from kdspark.report import figures
from kdspark.report.comparison import STUDENT, Comparison, ModelResult, cut_offs, number

_FOREST_WIDTH, _FOREST_HEIGHT, _FOREST_MARGIN = 160.0, 30.0, 10.0
Cell = dict[str, str]


def columns(comparison: Comparison, k: int) -> list[str]:
    """Metrics of the main table beside its first, those that some model has."""
    names = [f"{name}@{k}" for name in ("recall", "mrr", "coverage", "novelty", "diversity")]
    return [name for name in names if any(name in result["metrics"] for result in comparison["models"])]


def model_rows(comparison: Comparison, main: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row per model of the main table: costs, `main` as a drawing, the other metrics as cells."""
    scale = _scale(result["metrics"].get(main) for result in comparison["models"])
    return [
        {
            **_identity(comparison, result),
            "params": result["params"],
            "megabytes": f"{result['bytes'] / 1e6:.2f}",
            "train": f"{result['train_seconds']:.0f}",
            "encode": f"{result['encode_seconds']:.2f}",
            "score": f"{result['score_seconds']:.2f}",
            "forest": _forest(result["metrics"].get(main), scale, figures.colour_of(comparison, result["model"])),
            "cells": [_cell(result["metrics"].get(name)) for name in names],
        }
        for result in comparison["models"]
    ]


def _identity(comparison: Comparison, result: ModelResult) -> dict[str, Any]:
    colour = figures.colour_of(comparison, result["model"])
    return {"title": result["title"], "colour": colour, "chosen": result["model"] == STUDENT}


def _cell(found: Interval | None) -> Cell:
    if found is None or found["value"] is None:
        return {"value": "-", "range": ""}
    digits = 4 if abs(found["value"]) < 1 else 3
    known = found["low"] is not None and found["high"] is not None
    span = f"{number(found['low'], digits - 1)}\u2013{number(found['high'], digits - 1)}" if known else ""
    return {"value": number(found["value"], digits), "range": span}


def _scale(intervals: Iterable[Interval | None]) -> tuple[float, float]:
    ends = [end for found in intervals if found for end in found.values() if isinstance(end, float)]
    return (min(ends, default=0.0), max(ends, default=1.0))


def _forest(found: Interval | None, scale: tuple[float, float], colour: str) -> str:
    """An interval as a small drawing, with its value above."""
    if found is None or found["value"] is None:
        return "-"
    value, low, high = found["value"], found["low"], found["high"]

    def x(at: float) -> float:
        share = (at - scale[0]) / (scale[1] - scale[0]) if scale[1] > scale[0] else 0.5
        return round(_FOREST_MARGIN + share * (_FOREST_WIDTH - 2 * _FOREST_MARGIN), 1)

    anchor = "start" if x(value) < 30 else "end" if x(value) > _FOREST_WIDTH - 30 else "middle"
    bar = (
        ""
        if low is None or high is None
        else (
            f'<line x1="{x(low)}" x2="{x(high)}" y1="21" y2="21" stroke="{colour}" stroke-width="3" '
            'stroke-linecap="round" '
            'opacity=".55"/>'
        )
    )
    spoken = f"{value:.4f}" if low is None or high is None else f"{value:.4f}, {low:.4f} to {high:.4f}"
    return (
        f'<svg viewBox="0 0 {_FOREST_WIDTH:g} {_FOREST_HEIGHT:g}" role="img" aria-label="{spoken}">'
        f"<title>{spoken}</title>{bar}"
        f'<circle cx="{x(value)}" cy="21" r="4.5" fill="{colour}"/>'
        f'<text x="{x(value)}" y="11" text-anchor="{anchor}" font-size="12" fill="currentColor">'
        f"{value:.4f}</text></svg>"
    )


def pair_rows(comparison: Comparison, k: int) -> list[Cell]:
    """Paired differences of the headline metrics."""
    titles = {result["model"]: result["title"] for result in comparison["models"]}
    shown = []
    for pair in comparison["paired"]:
        low, high = pair["low"], pair["high"]
        if pair["metric"] not in (f"ndcg@{k}", f"recall@{k}", f"coverage@{k}") or pair["difference"] is None:
            continue
        known = low is not None and high is not None
        judgement = "" if low is None or high is None else "good" if low > 0 else "bad" if high < 0 else ""
        shown.append(
            {
                "models": f"{titles.get(pair['a'], pair['a'])} minus {titles.get(pair['b'], pair['b'])}",
                "metric": pair["metric"],
                "difference": f"{pair['difference']:+.4f}",
                "range": f"{low:+.4f} to {high:+.4f}" if known else "-",
                "p_value": "-" if pair["p_value"] is None else _p_value(pair["p_value"]),
                "judgement": judgement,
            }
        )
    return shown


def _p_value(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def part_columns(comparison: Comparison, k: int) -> list[tuple[str, str]]:
    """(head or tail, metric) pairs of the popularity table."""
    first = comparison["models"][0]["slices"]["popularity"] if comparison["models"] else []
    names = (f"recall@{k}", f"ndcg@{k}")
    return [(part["label"], name) for part in first for name in names if name in part["metrics"]]


def part_rows(comparison: Comparison, k: int) -> list[dict[str, Any]]:
    """One row per model of the popularity table."""
    wanted = part_columns(comparison, k)
    rows = []
    for result in comparison["models"]:
        metrics = {part["label"]: part["metrics"] for part in result["slices"]["popularity"]}
        cells = [_cell(metrics.get(part, {}).get(name)) for part, name in wanted]
        rows.append({**_identity(comparison, result), "cells": cells})
    return rows if wanted else []


def every_metric(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per metric and cut-off, one cell per model."""
    names = {name for result in comparison["models"] for name in result["metrics"]}
    order = {k: place for place, k in enumerate(cut_offs(comparison))}

    def place(name: str) -> tuple[str, int]:
        stem, _, k = name.partition("@")
        return stem, order.get(int(k), 0) if k.isdigit() else 0

    return [
        {"metric": name, "cells": [_cell(result["metrics"].get(name)) for result in comparison["models"]]}
        for name in sorted(names, key=place)
    ]
