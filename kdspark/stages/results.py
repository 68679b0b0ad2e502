"""What a night leaves behind for people: the run's folder with its comparison and report, and the published table."""

import json
from pathlib import Path

from kdspark.errors import StageError
from kdspark.report.comparison import Comparison, as_json, table
from kdspark.report.html import write_report
from kdspark.stages import evaluate
from kdspark.stages.runner import Runner, versions
from kdspark.workspace import Workspace, latest_published, parse_date, read_json, write_json

REPORT = "report.html"


def record_run(runner: Runner) -> Path:
    """Write the run's folder of an evaluated night: run.json, comparison.json and report.html; returns the folder.

    run.json says where each stage's output lies, so that everything behind a comparison can be found again.
    """
    night = runner.night
    comparison: Comparison = read_json(runner.output(evaluate.NAME) / evaluate.COMPARISON)
    folder = night.workspace.run_folder(night.date, comparison["run_id"])
    folder.mkdir(parents=True, exist_ok=True)
    finished = {name: runner.finished(name) for name in runner.stages}
    seconds = {name: manifest.seconds for name, manifest in finished.items() if manifest is not None}
    stages = {name: str(runner.output(name).relative_to(night.workspace.root)) for name in seconds}
    configuration = night.config.model_dump(mode="json", by_alias=True)
    facts = {"seed": night.config.seed, "seconds": round(sum(seconds.values()), 1), **versions()}
    write_json(folder / "run.json", {"stages": stages, "seconds": seconds, "config": configuration, "facts": facts})
    write_json(folder / evaluate.COMPARISON, comparison)
    write_report(folder / REPORT, comparison, configuration, facts, night.config.evaluation.confidence)
    write_json(folder.parent / "newest.json", {"run_id": comparison["run_id"]})
    return folder


def compare_night(root: str, date: str, json_output: bool) -> str:
    """The newest evaluated run of a date, as a text table or as JSON.

    Raises:
        StageError: there is none.
    """
    folder = existing(root).newest_run(parse_date(date))
    comparison: Comparison = read_json(folder / evaluate.COMPARISON)
    if json_output:
        return json.dumps(as_json(comparison), indent=2, allow_nan=False)
    return f"{table(comparison)}\n\nReport: {folder / REPORT}"


def latest_table(root: str) -> Path:
    """Folder of the newest published recommendations. Raises PublishError when nothing is published."""
    published = latest_published(existing(root))
    assert published is not None
    return published.table


def existing(root: str) -> Workspace:
    """A workspace that is there already: asking a question must not create folders."""
    if not Path(root).is_dir():
        raise StageError(f"--root {root}: no such folder.", "Name the folder that `kdspark run --root` wrote.")
    return Workspace(root)
