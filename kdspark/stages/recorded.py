"""How a run ended, kept for people and machines: a row of the health table, metrics for Prometheus, the night's report.

Nothing here can spoil a night: what cannot be written is warned of.
"""

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kdspark.errors import BlockedError, EmptyDayError, KdsparkError, PublishError
from kdspark.report.comparison import COMPARISON, Comparison
from kdspark.report.prometheus import METRICS, Sizes, metrics_text
from kdspark.stages import evaluate, health, prepare, publish
from kdspark.stages.record import record_run
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import Published, read_json, write_bytes
from kdspark.workspace.health import BLOCKED, FAILED, KEPT, PUBLISHED, Row, has_row, write_row

log = logging.getLogger("kdspark")

_SAME = (
    *("coverage", "rows", "users", "items", "day_events", "log_events", "known_users", "known_items", "new_users"),
    *("new_items", "user_share", "cold_share", "flat_share", "overlap", "null_rates", "psi"),
    *("teacher_metric", "plain_metric", "popularity_metric"),
)
"""Figures that have one name in a night's health and in the table."""
_ID = 12  # letters of a run's id


@contextmanager
def recorded(runner: Runner, publishes: bool) -> Iterator[None]:
    """Record how what is done inside ends; a day without a log ends well where it may (`gate.on_empty_day`).

    Args:
        publishes: whether a good end is that of a night, and not of some of its stages.

    Raises:
        KdsparkError: whatever is raised inside, but for that day.
    """
    try:
        yield
    except EmptyDayError as error:
        latest = _kept(runner.night)
        if latest is None:
            _record(runner, FAILED, error)
            raise
        _record(runner, KEPT, error)
        log.warning(
            "%-14s %s The lists of %s, run %s, stay (`gate.on_empty_day: keep_previous`).",
            *("kept", error.problem, latest.date, latest.run_id),
        )
    except BlockedError as error:
        _record(runner, BLOCKED, error)
        raise
    except Exception as error:
        _record(runner, FAILED, error)
        raise
    else:
        if publishes:
            _record(runner, PUBLISHED)


def record_missed(night: Night, run: Published) -> None:
    """Write the row of a published run that has none, since its process died between the pointer and the row."""
    try:
        if not has_row(night.workspace.root, run.date, run.run_id):
            write_row(night.workspace.root, _row(night, run.run_id, PUBLISHED, run.manifest))
    except Exception as error:
        log.warning("%-14s the run's row cannot be written: %s", "health", error)


def _kept(night: Night) -> Published | None:
    """What stays published after a day without a log; None where such a day fails, or nothing is published."""
    if night.config.gate.on_empty_day != "keep_previous":
        return None
    try:
        return night.publication.latest()
    except PublishError:
        return None


def _record(runner: Runner, outcome: str, error: Exception | None = None) -> None:
    night = runner.night
    try:
        row, sizes = _found(runner, outcome, error)
        write_row(night.workspace.root, row)
        text = metrics_text(night.config.name, row, sizes, _last_published(night))
        folder = night.workspace.run_folder(night.date, row["evaluated_run"])
        for path in (folder / METRICS, night.workspace.root / METRICS):
            write_bytes(path, text)
        if (folder / COMPARISON).exists():
            record_run(runner)  # once more, with this run in the history
    except Exception as problem:
        log.warning("%-14s how the run ended cannot be recorded: %s", "health", problem)


def _found(runner: Runner, outcome: str, error: Exception | None) -> tuple[Row, Sizes]:
    """The run's row, and what its stages took."""
    night, keys = runner.night, _keys(runner)
    stages = {name: stage for name in keys if (stage := runner.finished(name)) is not None}
    manifest: dict[str, Any] = {}
    if outcome == PUBLISHED:
        manifest = stages[publish.NAME].facts
    elif isinstance(error, BlockedError):
        manifest = {"health": error.health}
    elif prepare.NAME in stages:
        prepared = stages[prepare.NAME]
        earlier = night.publication.earlier(night.date, 1)
        manifest = {
            "health": health.of_inputs(
                prepared.rows, prepared.facts, [run.manifest.get("health", {}) for run in earlier]
            )
        }
    nothing = publish.config_digest(night.config)
    run = manifest.get("published_run") or keys.get(publish.NAME, nothing)[:_ID]
    row = _row(night, run, outcome, manifest)
    row |= {
        "evaluated_run": keys.get(evaluate.NAME, nothing)[:_ID],
        "seconds": sum(stage.seconds for stage in stages.values()),
        "reason": " ".join(str(error).split()) if error is not None else row["reason"],
    }
    sizes: Sizes = {
        "seconds": {name: stage.seconds for name, stage in stages.items()},
        "rows": {(name, table): count for name, stage in stages.items() for table, count in stage.rows.items()},
        "bytes": {name: sum(file["bytes"] for file in stage.files.values()) for name, stage in stages.items()},
        "model_bytes": _model_bytes(runner) if evaluate.NAME in stages else {},
    }
    return row, sizes


def _row(night: Night, run: str, outcome: str, manifest: dict[str, Any]) -> Row:
    """What a published run's manifest, or as much of one as there is, says for the table."""
    found = manifest.get("health", {})
    return {
        **{name: found.get(name) for name in _SAME},
        "date": night.date,
        "run": run,
        "evaluated_run": manifest.get("evaluated_run"),
        "recorded": dt.datetime.now(dt.timezone.utc),
        "published": outcome == PUBLISHED,
        "outcome": outcome,
        "reason": f"forced: {'; '.join(manifest['forced'])}" if manifest.get("forced") else None,
        "metric_name": found.get("name"),
        "student_metric": found.get("metric"),
    }


def _keys(runner: Runner) -> dict[str, str]:
    """Stage -> key, as far as they can be told: the files of the log may not be there to be listed, and where nothing
    has been looked at yet, no session is started for it."""
    found: dict[str, str] = {}
    if not runner.began:
        return found
    for name in runner.stages:
        try:
            found[name] = runner.key(name)
        except KdsparkError:
            break
    return found


def _model_bytes(runner: Runner) -> dict[str, int]:
    comparison: Comparison = read_json(runner.output(evaluate.NAME) / COMPARISON)
    return {result["model"]: result["bytes"] for result in comparison["models"]}


def _last_published(night: Night) -> float | None:
    """When what readers see was published, in seconds since 1970; None where nothing is."""
    try:
        return dt.datetime.fromisoformat(night.publication.latest().at).timestamp()
    except (PublishError, ValueError):
        return None
