"""The pictures of a search's report."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.ticker import MaxNLocator

from kdspark.report.drawing import INK, PAPER, RC, single_axes, to_svg
from kdspark.report.search import SearchRecord, TrialRecord, shown

_COLOUR, _BEST = "#3b7dd8", "#d1495b"
_POINT: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 1, "linestyle": "none", "marker": "o"}
_LONGEST = 18


def history(record: SearchRecord) -> str:
    """Every trial's value in the order tried, the best so far as a line; failed trials as marks at the foot."""
    done = _done(record)
    with matplotlib.rc_context(RC):
        figure, axes = single_axes(7.2, 4.2)
        numbers, values = [trial["number"] for trial in done], [trial["value"] or 0.0 for trial in done]
        so_far = [max(values[: place + 1]) for place in range(len(values))]
        axes.plot(numbers, so_far, drawstyle="steps-post", color=_BEST, linewidth=2, label="best so far")
        axes.plot(numbers, values, color=_COLOUR, markersize=7, label="trial", **_POINT)
        failed = [trial["number"] for trial in record["trials"] if trial["state"] == "failed"]
        if failed:
            foot = axes.get_ylim()[0]
            axes.plot(failed, [foot] * len(failed), "x", color=INK, markersize=6, label="failed", clip_on=False)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("trial")
        axes.set_title(f"{record['metric']} on validation")
        axes.legend(loc="lower right", fontsize=9.5)
        return to_svg(figure, "history")


def importances(record: SearchRecord) -> str:
    """Shares as bars, the largest on top."""
    found = sorted(record["importances"].items(), key=lambda pair: pair[1])
    with matplotlib.rc_context(RC):
        figure, axes = single_axes(7.2, 1.2 + 0.42 * len(found))
        axes.barh([key for key, _ in found], [share for _, share in found], color=_COLOUR, height=0.6)
        for place, (_, share) in enumerate(found):
            axes.annotate(f"{share:.0%}", (share, place), xytext=(4, -4), textcoords="offset points", fontsize=9.5)
        axes.set_xlim(0, 1.1 * max(share for _, share in found))
        axes.set_xticks([])
        axes.grid(visible=False)
        return to_svg(figure, "importances")


def slice_of(record: SearchRecord, key: str, name: str) -> str:
    """Every trial's value over one key's, the best one in a colour of its own; `name` is the picture's in the page."""
    done = _done(record)
    with matplotlib.rc_context(RC):
        figure, axes = single_axes(7.2, 3.4)
        field = record["fields"][key]
        chosen = [trial["parameters"][key] for trial in done]
        if "choices" in field:
            labels = [_short(shown(choice)) for choice in field["choices"]]
            chosen = [field["choices"].index(value) for value in chosen]
            axes.set_xticks(range(len(labels)), labels)
            axes.set_xlim(-0.5, len(labels) - 0.5)
        elif field["log"]:
            axes.set_xscale("log")
        best = [trial["number"] == record["best"] for trial in done]
        for colour, wanted in ((_COLOUR, False), (_BEST, True)):
            points = [
                (x, trial["value"]) for x, trial, is_best in zip(chosen, done, best, strict=True) if is_best == wanted
            ]
            axes.plot(*_columns(points), color=colour, markersize=7, **_POINT)
        axes.set_xlabel(key)
        axes.set_title(f"{record['metric']} on validation")
        return to_svg(figure, name)


def _columns(points: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [x for x, _ in points], [y for _, y in points]


def _done(record: SearchRecord) -> list[TrialRecord]:
    return [trial for trial in record["trials"] if trial["state"] == "done"]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
