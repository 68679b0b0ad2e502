"""The night's report: one self-contained HTML file, no scripts, nothing loaded from anywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kdspark.report import figures
from kdspark.report.comparison import Comparison, primary_k
from kdspark.report.definitions import TERMS
from kdspark.report.history import COLUMNS, Row, history_figure, history_rows
from kdspark.report.page import render_page
from kdspark.report.rows import Cell, columns, every_metric, model_rows, pair_rows, part_columns, part_rows
from kdspark.report.verdict import label, verdict


def write_report(
    path: Path,
    comparison: Comparison,
    configuration: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    confidence: float | None = None,
    history: Sequence[Row] = (),
) -> None:
    """Render the report into a file; arguments as for `render`."""
    path.write_text(render(comparison, configuration, facts, confidence, history), encoding="utf-8")


def render(
    comparison: Comparison,
    configuration: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    confidence: float | None = None,
    history: Sequence[Row] = (),
) -> str:
    """The report as HTML; equal input gives equal bytes.

    Args:
        comparison: what evaluate wrote.
        configuration: the night's configuration, shown as YAML.
        facts: more about the run (versions, seed), shown beside the data set's counts.
        confidence: of the intervals, such as 0.95, named in the text.
        history: rows of the health table, the latest last.
    """
    k = primary_k(comparison)
    main, others = f"ndcg@{k}", columns(comparison, k)
    return render_page(
        "report.html",
        comparison=comparison,
        verdict=verdict(comparison),
        label=label,
        confidence=f"{100 * confidence:g}% " if confidence else "",
        main=main,
        columns=others,
        rows=model_rows(comparison, main, others),
        pairs=pair_rows(comparison, k),
        figures=_figures(comparison),
        part_names=[f"{part.capitalize()}: {label(name)}" for part, name in part_columns(comparison, k)],
        parts=part_rows(comparison, k),
        history=history_rows(history),
        history_columns=COLUMNS,
        history_figure=history_figure(history),
        everything=every_metric(comparison),
        terms=TERMS,
        facts=[(_words(name), _shown(value)) for name, value in {**comparison["dataset"], **(facts or {})}.items()],
        configuration=yaml.safe_dump(dict(configuration), sort_keys=False, allow_unicode=True) if configuration else "",
    )


def _figures(comparison: Comparison) -> list[Cell]:
    drawn = [
        (
            "Quality against size",
            "Up and to the left is better. Lines are intervals; dashed: no trained parameters.",
            figures.quality_against_size,
        ),
        (
            "Training curves",
            "The best epoch by the validation metric is kept, or the last, as configured.",
            figures.training_curves,
        ),
        ("Quality by user activity", "Users by number of training events.", figures.by_activity),
        (
            "Popularity against recommendation frequency",
            "All recommendations by the popularity of the item; bins hold equally many items.",
            figures.popularity_exposure,
        ),
    ]
    return [{"title": title, "caption": caption, "svg": draw(comparison)} for title, caption, draw in drawn]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
