"""A search's report: one self-contained HTML file."""

from pathlib import Path
from typing import Any

import yaml

from kdspark.report import search_figures as figures
from kdspark.report.page import render_page
from kdspark.report.search import SearchRecord, best_trial, epochs_of, one_line, options_of, ranked, shown


def write_search_report(path: Path, record: SearchRecord) -> None:
    """Render the report of a search with a trial done into a file."""
    path.write_text(render_search(record), encoding="utf-8")


def render_search(record: SearchRecord) -> str:
    """The report as HTML; equal input gives equal bytes."""
    best = best_trial(record["trials"])
    assert best is not None
    failed = [trial for trial in record["trials"] if trial["state"] == "failed"]
    return render_page(
        "search.html",
        record=record,
        best=best,
        values=", ".join(f"{key} {shown(value)}" for key, value in best["parameters"].items()),
        rows=_rows(record),
        options=options_of(record),
        failed=failed,
        figures=_figures(record),
        fields=yaml.safe_dump(record["fields"], sort_keys=False, allow_unicode=True),
        facts=_facts(record, len(failed)),
    )


def _rows(record: SearchRecord) -> list[dict[str, Any]]:
    return [
        {
            "number": trial["number"],
            "best": trial["number"] == record["best"],
            "value": f"{trial['value']:.4f}",
            "range": _range(trial["values"]),
            "cells": [one_line(trial["parameters"][key]) for key in record["fields"]],
            "epochs": epochs_of(trial),
            "weights": f"{trial['weights']:,}",
            "seconds": f"{trial['seconds']:.1f}",
        }
        for trial in ranked(record["trials"])
        if trial["value"] is not None
    ]


def _range(values: list[float]) -> str:
    """The smallest and the largest of several repeats."""
    return f"{min(values):.4f}\u2013{max(values):.4f}" if len(values) > 1 else ""


def _figures(record: SearchRecord) -> list[dict[str, str]]:
    drawn = [("History", "Trials in the order in which they were tried.", figures.history(record))]
    if record["importances"]:
        caption = "Share of what decides whether a trial is among the best tenth (PED-ANOVA), over all trials done."
        drawn.append(("What matters", caption, figures.importances(record)))
    for place, key in enumerate(record["fields"]):
        drawn.append((key, "All other values vary too.", figures.slice_of(record, key, f"slice{place}")))
    return [{"title": title, "caption": caption, "svg": svg} for title, caption, svg in drawn]


def _facts(record: SearchRecord, failed: int) -> list[tuple[str, str]]:
    seconds = sum(trial["seconds"] for trial in record["trials"])
    return [
        ("target", record["target"]),
        ("metric", f"{record['metric']} on validation"),
        ("sampler", record["sampler"]),
        ("seed", str(record["seed"])),
        ("repeats per trial", str(record["repeats"])),
        ("trials", str(len(record["trials"]))),
        ("failed trials", str(failed)),
        ("seconds, all trials", f"{seconds:,.0f}"),
    ]
