"""The history of nights in the report: a table of the latest runs, and how the figures of the published ones went."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdspark.report.drawing import RC, to_svg
from kdspark.report.figures import COLOURS
from kdspark.report.verdict import label

Row = dict[str, Any]
_SHOWN = 30  # rows of the table
_LINES = ("#3b7dd8", "#d1495b", "#e0a03c", "#4aa58a", "#b07aa1", "#8a8f98")
_MODELS = {"student": "student", "plain": "student_plain", "teacher": "teacher", "popularity": "popularity"}
Lines = dict[str, list[float | None]]


def history_rows(history: Sequence[Row]) -> list[dict[str, Any]]:
    """One row per run of the health table, the latest first."""
    return [
        {
            "date": row["date"].isoformat(),
            "run": row["run"],
            "outcome": row["outcome"],
            "reason": row["reason"] or "",
            "cells": [
                *(_number(row[f"{model}_metric"]) for model in ("student", "teacher", "popularity")),
                *(_count(row[name]) for name in ("users", "items", "day_events")),
                *(_share(row[name]) for name in ("coverage", "overlap", "cold_share", "new_users")),
                _share(max(row["null_rates"].values(), default=None)),
                _number(max(row["psi"].values(), default=None), 3),
            ],
        }
        for row in list(reversed(history))[:_SHOWN]
    ]


COLUMNS = (
    *("Student", "Teacher", "Popularity", "Users", "Items", "Day's events", "Coverage", "Overlap", "Cold users"),
    *("New users", "Missing values, most", "PSI, largest"),
)


def history_figure(history: Sequence[Row]) -> str:
    """Figures of the published nights over their dates, as one picture; empty with fewer than two nights."""
    nights = list({row["date"]: row for row in history if row["published"]}.values())
    if len(nights) < 2:
        return ""
    dates = [row["date"] for row in nights]
    names = {row["metric_name"] for row in nights if row["metric_name"]}
    title = label(names.pop()) if len(names) == 1 else "The gate's metric"
    quality = {model: _column(nights, f"{model}_metric") for model in _MODELS}
    panels: list[tuple[str, Lines, list[str]]] = [
        (title, quality, [COLOURS[model] for model in _MODELS.values()]),
        ("Events of the day", {"events": _column(nights, "day_events")}, [*_LINES]),
        ("Users with a list, items in lists", {name: _column(nights, name) for name in ("users", "items")}, [*_LINES]),
        ("Shares", {name: _column(nights, name) for name in ("coverage", "overlap", "cold_share")}, [*_LINES]),
        ("Missing values, the columns with most", _worst(nights, "null_rates"), [*_LINES]),
        ("Drift from night to night (PSI)", _worst(nights, "psi"), [*_LINES]),
    ]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(14.8, 7.2), layout="constrained")
        for axes, (heading, lines, colours) in zip(figure.subplots(2, 3).flat, panels, strict=True):
            _draw(axes, heading, [date.isoformat()[5:] for date in dates], lines, colours)
        return to_svg(figure, "history")


def _draw(axes: Axes, title: str, dates: list[str], lines: Lines, colours: list[str]) -> None:
    for colour, (name, values) in zip(colours, lines.items(), strict=False):
        known = [(place, value) for place, value in enumerate(values) if value is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o-", color=colour, linewidth=1.6, markersize=3.5, label=_words(name))
    axes.set_title(title)
    axes.set_xlim(-0.5, len(dates) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda at, _: dates[int(at)] if 0 <= at < len(dates) and at == int(at) else "")
    highest = max((value for values in lines.values() for value in values if value is not None), default=0)
    axes.set_ylim(0, 1.1 * highest or 1)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8.5, loc="best")


def _column(nights: Sequence[Row], name: str) -> list[float | None]:
    return [row[name] for row in nights]


def _worst(nights: Sequence[Row], name: str) -> Lines:
    """The entries of a map column that were largest on any night, as many as there are colours."""
    largest = {key: max(row[name].get(key, 0.0) for row in nights) for row in nights for key in row[name]}
    chosen = sorted(largest, key=lambda key: (-largest[key], key))[: len(_LINES)]
    return {key: [row[name].get(key) for row in nights] for key in chosen}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
