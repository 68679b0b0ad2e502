"""The run's folder of an evaluated night: what ran, how the models compare, and the report for people."""

from pathlib import Path

from kdspark.report.comparison import COMPARISON, REPORT, Comparison
from kdspark.report.html import write_report
from kdspark.stages import evaluate, student
from kdspark.stages.runner import Runner, versions
from kdspark.workspace import Manifest, read_json, write_json
from kdspark.workspace.health import read_rows

_NIGHTS = 90  # in the report


def record_run(runner: Runner) -> Path:
    """Write the run's folder of an evaluated night: run.json, comparison.json and report.html; returns the folder.

    run.json says where each stage's output lies, so that everything behind a comparison can be found again.
    """
    night = runner.night
    comparison: Comparison = read_json(runner.output(evaluate.NAME) / COMPARISON)
    folder = night.workspace.run_folder(night.date, comparison["run_id"])
    folder.mkdir(parents=True, exist_ok=True)
    finished = {name: runner.finished(name) for name in runner.stages}
    seconds = {name: manifest.seconds for name, manifest in finished.items() if manifest is not None}
    stages = {name: str(runner.output(name).relative_to(night.workspace.root)) for name in seconds}
    configuration = night.config.model_dump(mode="json", by_alias=True)
    started = _started(finished.get(student.name("train")))
    facts = {"seed": night.config.seed, "seconds": round(sum(seconds.values()), 1), **started, **versions()}
    write_json(folder / "run.json", {"stages": stages, "seconds": seconds, "config": configuration, "facts": facts})
    write_json(folder / COMPARISON, comparison)
    history = read_rows(night.workspace.root, _NIGHTS)
    write_report(folder / REPORT, comparison, configuration, facts, night.config.evaluation.confidence, history)
    write_json(folder.parent / "newest.json", {"run_id": comparison["run_id"]})
    return folder


def _started(manifest: Manifest | None) -> dict[str, str]:
    """Where a student that might have started warm started from; nothing without `warm_start`."""
    if manifest is None or "warm_start" not in manifest.facts:
        return {}
    warm, cold = manifest.facts["warm_start"], manifest.facts["cold_start"]
    return {"student_started_from": f"the student of {warm}" if warm else f"fresh weights: {cold}"}
