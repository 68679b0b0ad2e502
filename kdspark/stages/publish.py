"""publish: audit the staged recommendations, apply the quality gate, then move the pointer."""

import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException

from kdspark import tables
from kdspark.bridge.prepared import Prepared
from kdspark.config import Config
from kdspark.errors import BlockedError
from kdspark.report.comparison import COMPARISON, POPULARITY, STUDENT, Comparison
from kdspark.spark.audit import as_rows, audit, overlap
from kdspark.spark.drift import score_histogram
from kdspark.spark.io import count_rows, literal, read_table, uri
from kdspark.stages import evaluate, gate, prepare, score
from kdspark.stages.health import of_inputs, of_models
from kdspark.stages.published import note_place
from kdspark.stages.retention import remove_old
from kdspark.stages.stage import Night, Outcome, Stage, Task
from kdspark.workspace import Published, digest_of, read_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("kdspark")

NAME = "publish"


def _settings(night: Night) -> object:
    return {"date": night.date.isoformat(), "gate": night.config.gate.model_dump(mode="json")}


def _build(task: Task) -> Outcome:
    night, staged = task.night, task.inputs[score.NAME] / score.TABLE
    scored, prepared = (read_json(task.inputs[name] / "manifest.json") for name in (score.NAME, prepare.NAME))
    written = read_table(night.spark, staged)
    comparison: Comparison = read_json(task.inputs[evaluate.NAME] / COMPARISON)
    earlier = night.publication.earlier(night.date, night.config.gate.volume_nights)
    before = [run.manifest.get("health", {}) for run in earlier]
    lists = as_rows(written)
    health = {
        **_health(task, lists, comparison, earlier),  # first: it audits what the others take for good lists
        **of_inputs(prepared["rows"], prepared["facts"], before, {"scores": score_histogram(lists)}),
        **of_models(comparison, night.config.gate.metric),
    }
    found = gate.checks(night.config.gate, health, before)
    facts = {
        **{name: health[name] for name in ("rows", "users")},
        "schema": {field.name: field.dataType.simpleString() for field in written.schema.fields},
        "model": scored["facts"],
        "config": config_digest(night.config),
        "input": _input(prepared["facts"]),
        "schema_accepted": prepared["facts"].get("schema_accepted", []),
        "evaluated_run": comparison["run_id"],
        "stages": {need: path.name for need, path in task.inputs.items()},
        "health": health,
        "gate": gate.as_facts(found),
        "forced": _pass(night, found, health),
    }
    files = scored["files"]
    of_table = f"{score.TABLE}/"
    known = {name.removeprefix(of_table): entry for name, entry in files.items() if name.startswith(of_table)}
    if night.lease is not None:
        night.lease.check()
    with night.workspace.pointing():
        run = night.publication.publish(night.date, _run_id(task), staged, facts, known)
    note_place(night.workspace, night.config.publish.to)
    remove_old(night.workspace, night.publication, night.config.publish.keep)
    path = night.publication.url(run)
    return Outcome(rows={score.TABLE: health["rows"]}, facts={"path": path, "published_run": run.run_id, **facts})


def config_digest(config: Config) -> str:
    """Of a whole configuration."""
    return digest_of(config.model_dump(mode="json", by_alias=True))


def _health(task: Task, rows: "DataFrame", comparison: Comparison, earlier: list[Published]) -> dict[str, Any]:
    """Figures of tonight's lists and models, as `gate.checks` wants them.

    Raises:
        PublishError: the lists are such that no reader should see them.
    """
    night, prepared = task.night, Prepared(task.inputs[prepare.NAME])
    items = read_table(night.spark, prepared.folder / "item_ids").select(tables.ITEM_ID)
    audited = audit(rows, night.config.scoring.k, items)
    metric = night.config.gate.metric
    values = gate.metrics_of(comparison, metric)
    before = _lists_of(night, earlier[0]) if earlier else None
    return {
        **audited,
        "name": metric,
        "metric": values[STUDENT],
        "popularity_metric": values[POPULARITY],
        "user_share": audited["users"] / count_rows(prepared.users("full")),
        "overlap": None if before is None else overlap(rows, before),
    }


def _lists_of(night: Night, run: Published) -> "DataFrame | None":
    """Table "recommendations" of an earlier night; None where it is gone or damaged, which is no reason to stop."""
    url = night.publication.url(run)
    try:
        return as_rows(night.spark.read.parquet(url if "://" in url else literal(uri(Path(url)))))
    except PySparkException as error:
        log.warning("ignored: %s: %s", url, str(error).partition("\n")[0])
        return None


def _pass(night: Night, found: list[gate.Check], health: dict[str, Any]) -> list[str]:
    """What the gate has against the night, which is overruled; empty where it has nothing.

    Raises:
        BlockedError: the night is blocked, and nobody has forced it.
    """
    reasons = gate.blocked(found)
    if reasons is None:
        return []
    if not night.force:
        raise BlockedError(
            f"The night is blocked: {reasons}. Nothing was published.",
            "Look at the report for the reason; publish with `--force`, which is recorded, only if you accept this.",
            health,
        )
    log.warning("%-14s forced: %s", NAME, reasons)
    return [reasons]


def _input(facts: dict[str, Any]) -> dict[str, Any]:
    """How many files of each input were read, a digest of their list, which stage prepare's manifest holds, and the
    columns of the newest."""
    columns = facts.get("schemas", {})
    return {
        name: {"files": len(found), "sha256": digest_of(found), "columns": columns.get(name)}
        for name, found in facts["files"].items()
    }


def _run_id(task: Task) -> str:
    """Of equal inputs and settings equal; what is forced gets a number more."""
    run_id, night = task.key[:12], task.night
    if not night.force:
        return run_id
    taken = {run.run_id for run in night.publication.runs() if run.date == night.date}
    numbered = (run_id if number == 1 else f"{run_id}-{number}" for number in itertools.count(1))
    return next(name for name in numbered if name not in taken)


# Always run: whether a date is done is for the pipeline to say, which looks at what is published.
STAGE = Stage(NAME, "publish", (prepare.NAME, score.NAME, evaluate.NAME), _settings, _build, reusable=False)
