"""A run's figures as text for Prometheus, as node_exporter's textfile collector reads it.

The figures carry the configuration's name alone, so that a figure is one line over all nights; which night it was says
`kdspark_night_info`, whose labels change, and whose value is 1.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from prometheus_client import CollectorRegistry, Gauge, generate_latest

METRICS = "metrics.prom"
_FIGURES = {
    "day_events": "Events of the night's own day",
    "log_events": "Events of the log",
    "known_users": "Users with an id, ever",
    "known_items": "Items with an id, ever",
    "new_users": "Share of users who were not known the night before",
    "new_items": "Share of items that were not known the night before",
    "rows": "Rows of all lists",
    "users": "Users with a list",
    "items": "Different items in lists",
    "coverage": "Share of the catalogue in the student's lists for test users",
    "user_share": "Share of users with a list",
    "cold_share": "Share of users whom the model does not know",
    "flat_share": "Share of users with one score throughout",
    "overlap": "Share of items that were in the same user's list the night before",
}
_MODELS = ("student", "plain", "teacher", "popularity")


class Sizes(TypedDict):
    """What stages took: seconds, rows by (stage, table), bytes; and bytes of models."""

    seconds: dict[str, float]
    rows: dict[tuple[str, str], int]
    bytes: dict[str, int]
    model_bytes: dict[str, int]


def metrics_text(name: str, row: Mapping[str, Any], sizes: Sizes, last_published: float | None) -> bytes:
    """All metrics of a run; a figure that there is not is no line.

    Args:
        name: of the configuration.
        row: of the health table.
        last_published: when what readers see was published, in seconds since 1970.
    """
    gauges = _Gauges(name)
    labels = {"date": row["date"].isoformat(), "run": row["run"], "outcome": row["outcome"]}
    gauges.add("night_info", "Which run this is and how it ended", 1, **labels)
    good = row["outcome"] in ("published", "kept")
    gauges.add("night_success", "Whether the run ended well", good)
    gauges.add("night_published", "Whether the run was published", row["published"])
    gauges.add("night_end_timestamp_seconds", "When the run ended", row["recorded"].timestamp())
    gauges.add("latest_published_timestamp_seconds", "When what readers see was published", last_published)
    for figure, words in _FIGURES.items():
        gauges.add(figure, words, row.get(figure))
    for model in _MODELS:
        quality = {"model": model, "metric": str(row.get("metric_name"))}
        gauges.add("quality", "The gate's metric on test events", row.get(f"{model}_metric"), **quality)
    for column, share in (row.get("null_rates") or {}).items():
        gauges.add("null_share", "Share of missing values", share, column=column)
    for spread, value in (row.get("psi") or {}).items():
        gauges.add("psi", "Population stability index against the night before", value, distribution=spread)
    for stage, seconds in sizes["seconds"].items():
        gauges.add("stage_seconds", "Wall time of a stage", seconds, stage=stage)
        gauges.add("stage_bytes", "Bytes that a stage wrote", sizes["bytes"][stage], stage=stage)
    for (stage, table), rows in sizes["rows"].items():
        gauges.add("stage_rows", "Rows of a stage's table", rows, stage=stage, table=table)
    for model, size in sizes["model_bytes"].items():
        gauges.add("model_bytes", "Bytes of a model", size, model=model)
    return generate_latest(gauges.registry)


class _Gauges:
    """Gauges by name, all with the label `name`."""

    def __init__(self, name: str) -> None:
        self.name, self.registry = name, CollectorRegistry()
        self._known: dict[str, Gauge] = {}

    def add(self, metric: str, words: str, value: float | None, /, **labels: str) -> None:
        if value is None:
            return
        if metric not in self._known:
            self._known[metric] = Gauge(f"kdspark_{metric}", words, ["name", *labels], registry=self.registry)
        self._known[metric].labels(self.name, *labels.values()).set(value)
