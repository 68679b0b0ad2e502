"""The pictures of the night's report."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from kdspark.ranking.bootstrap import Interval
from kdspark.report.comparison import Comparison, primary_k
from kdspark.report.drawing import INK, PAPER, RC, single_axes, to_svg
from kdspark.report.verdict import label

# Distinct in hue and lightness, legible on light and dark paper (after Okabe & Ito).
COLOURS = {
    "popularity": "#8a8f98",
    "als": "#b07aa1",
    "teacher": "#3b7dd8",
    "assistant": "#5b4a9e",
    "student_plain": "#e0a03c",
    "student": "#d1495b",
}
_SPARE = ["#4aa58a", "#9c6b4f", "#6f6fc0"]
_DASHES: list[Any] = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))]


def quality_against_size(comparison: Comparison) -> str:
    """Metric with interval over the number of parameters; models without parameters are level lines."""
    metric = f"ndcg@{primary_k(comparison)}"
    with matplotlib.rc_context(RC):
        figure, axes = single_axes(7.2, 4.2)
        sizes = [result["params"] for result in comparison["models"] if result["params"] > 0]
        smallest, largest = min(sizes, default=1), max(sizes, default=1)
        axes.set_xscale("log")
        axes.set_xlim(smallest / 2, largest * 2)
        labels = []
        for result in comparison["models"]:
            found, colour = result["metrics"].get(metric), colour_of(comparison, result["model"])
            if found is None or found["value"] is None:
                continue
            if result["params"] > 0:
                _interval(axes, result["params"], found, colour, size=8)
            else:
                axes.axhline(found["value"], color=colour, linewidth=1.4, linestyle=(0, (4, 3)))
            labels.append(_Label(result["title"], result["params"] or largest * 2, found["value"], colour))
        axes.xaxis.set_major_formatter(FuncFormatter(_count))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("parameters (log scale)")
        axes.set_title(label(metric))
        _place_labels(figure, axes, labels, middle=(smallest * largest) ** 0.5)
        return to_svg(figure, "size")


class _Label(NamedTuple):
    """A name beside a point."""

    text: str
    x: float
    y: float
    colour: str


def _place_labels(figure: Figure, axes: Axes, labels: Sequence[_Label], middle: float) -> None:
    """Names towards the middle of the picture, moved up where two on one side would overlap."""
    figure.draw_without_rendering()
    taken: dict[bool, float] = {}
    for one in sorted(labels, key=lambda one: one.y):
        right = one.x > middle
        height = float(axes.transData.transform((one.x, one.y))[1]) * 72 / figure.dpi
        above = max(height + 5, taken.get(right, -1e9) + 14)
        taken[right] = above
        axes.annotate(
            one.text,
            (one.x, one.y),
            xytext=(-9 if right else 9, above - height),
            textcoords="offset points",
            ha="right" if right else "left",
            color=one.colour,
            fontweight="bold",
        )


def training_curves(comparison: Comparison) -> str:
    """Validation metric and training loss over epochs. Losses differ in kind, so each is relative to its first."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        quality, loss = figure.subplots(1, 2)
        for name, nth in _curve_order(comparison):
            curve = comparison["curves"][name]
            style: dict[str, Any] = {"color": colour_of(comparison, name), "linewidth": 2}
            style["linestyle"] = _DASHES[nth % len(_DASHES)]
            _line(quality, [(row["epoch"], row.get("valid")) for row in curve], label=_title(comparison, name), **style)
            first = next((row["loss"] for row in curve if row.get("loss")), None)
            losses = [row["loss"] / first if first and row.get("loss") else None for row in curve]
            _line(loss, list(zip([row["epoch"] for row in curve], losses, strict=True)), **style)
        quality.set_title("Validation metric")
        loss.set_title("Training loss, first epoch = 1")
        for axes in (quality, loss):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _legend_above(figure, quality)  # not inside: a curve may lie anywhere
        return to_svg(figure, "curves")


def by_activity(comparison: Comparison) -> str:
    """Metric with interval by the user's number of training events."""
    metric = f"ndcg@{primary_k(comparison)}"
    models = comparison["models"]
    with matplotlib.rc_context(RC):
        figure, axes = single_axes(7.2, 4.2)
        slices = models[0]["slices"]["activity"] if models else []
        for place, result in enumerate(models):
            colour = colour_of(comparison, result["model"])
            shift = (place - (len(models) - 1) / 2) * 0.13
            for x, part in enumerate(result["slices"]["activity"]):
                found = part["metrics"].get(metric)
                if found is not None and found["value"] is not None:
                    _interval(axes, x + shift, found, colour, size=6.5)
            axes.plot([], [], "o", color=colour, label=result["title"])
        axes.set_xticks(range(len(slices)), [f"{part['label']} events\n{part['users']:,} users" for part in slices])
        axes.set_xlim(-0.5, max(len(slices), 1) - 0.5)
        axes.set_title(label(metric))
        _legend_above(figure, axes)
        return to_svg(figure, "activity")


def popularity_exposure(comparison: Comparison) -> str:
    """Share of all recommendations by popularity bin of the item, least popular first."""
    with matplotlib.rc_context(RC):
        figure, axes = single_axes(7.2, 4.2)
        bins = max((len(result["exposure"]) for result in comparison["models"]), default=0)
        if bins:
            axes.axhline(1 / bins, color=INK, linewidth=1, linestyle=(0, (2, 3)))
            axes.annotate("equal share", (0.06, 1 / bins), xytext=(0, 4), textcoords="offset points", fontsize=9)
        for result in comparison["models"]:
            points = [(upper, share) for upper, share in result["exposure"]]
            style = {"color": colour_of(comparison, result["model"]), "linewidth": 2, "label": result["title"]}
            _line(axes, points, marker="o", markersize=4, **style)
        axes.set_xlabel("popularity percentile of the item (right: most popular)")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_title("Share of recommendations")
        _legend_above(figure, axes)
        return to_svg(figure, "exposure")


def colour_of(comparison: Comparison, model: str) -> str:
    """A model's colour, the same in every picture; a curve of a member has that of its model."""
    base = _base(model)
    others = [result["model"] for result in comparison["models"] if result["model"] not in COLOURS]
    return COLOURS.get(base) or _SPARE[others.index(base) % len(_SPARE) if base in others else -1]


def _interval(axes: Axes, x: float, found: Interval, colour: str, size: float) -> None:
    if found["low"] is not None and found["high"] is not None:
        axes.plot([x, x], [found["low"], found["high"]], color=colour, linewidth=1.6, solid_capstyle="round")
    axes.plot(
        [x], [found["value"] or 0.0], "o", color=colour, markersize=size, markeredgecolor=PAPER, markeredgewidth=1
    )


def _line(axes: Axes, points: Sequence[tuple[float, float | None]], **style: Any) -> None:
    known = [(x, y) for x, y in points if y is not None]
    if known:
        axes.plot(*zip(*known, strict=True), **style)


def _legend_above(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside upper left", ncols=3, fontsize=9.5, handlelength=1.2, columnspacing=1.4
        )


def _curve_order(comparison: Comparison) -> list[tuple[str, int]]:
    """Curves in the order of their models, and which of its model's curves each is (an ensemble has several)."""
    known = [result["model"] for result in comparison["models"]]
    names = sorted(comparison["curves"], key=lambda name: ([*known, _base(name)].index(_base(name)), name))
    bases = [_base(name) for name in names]
    return [(name, bases[:place].count(bases[place])) for place, name in enumerate(names)]


def _base(curve: str) -> str:
    """The model of a curve: "teacher" of "teacher: transformer 1"."""
    return curve.split(":")[0]


def _title(comparison: Comparison, curve: str) -> str:
    base = _base(curve)
    title = next((result["title"] for result in comparison["models"] if result["model"] == base), base)
    return title + curve[len(base) :]


def _count(value: float, _position: int) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"
