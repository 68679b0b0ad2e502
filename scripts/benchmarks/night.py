"""A whole night, from raw events to published lists, as a command: minutes, and memory of all its processes.

The log is generated (scripts/make_logs), the configuration is conf/large.yaml. Memory is the proportional set size of
the command and everything below it (Python's driver, the JVM, Python's workers), looked at every second.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from generated import EVENTS, EVENTS_PER_USER, ITEMS, LAST_DAY, generated_log
from memory import ALL, DRIVER, JVM, WORKERS, PeakMemory
from surroundings import machine

from kdspark.errors import StageError
from kdspark.report.comparison import COMPARISON
from kdspark.stages.evaluate import NAME as EVALUATE
from kdspark.workspace import read_json

NAME = "night"
_CONFIG = Path(__file__).resolve().parents[2] / "conf" / "large.yaml"
_STARTING = re.compile(r" I (\w+) +starting$")
_KINDS = (DRIVER, JVM, WORKERS, ALL)


def run(out: Path, changes: list[str], events: int = EVENTS, items: int = ITEMS) -> dict[str, Any]:
    """Minutes and GiB of the night and of its stages, and what the models are worth.

    Args:
        out: the log is kept there, and used again; the night's folder is removed.
        changes: overrides of the configuration.
        events: of the log, fifty times as many as users.

    Raises:
        StageError: the night failed.
    """
    users = events // EVENTS_PER_USER
    logs = generated_log(out.resolve(), users, items, events)
    root = out.resolve() / "night"
    shutil.rmtree(root, ignore_errors=True)
    started = perf_counter()
    peaks = _night(logs, root, changes)
    minutes = (perf_counter() - started) / 60
    rows = [
        {"stage": stage, "minutes": seconds / 60, **{f"{kind}_gib": peak.get(kind, 0.0) for kind in _KINDS}}
        for stage, seconds in _seconds(root).items()
        for peak in [peaks.peaks.get(stage, {})]
    ]
    models = _models(root)
    shutil.rmtree(root)
    ratios = {"minutes": minutes, "peak_gib": peaks.overall()}
    sizes = {"users": users, "items": items, "events": events}
    return {"bench": NAME, "machine": machine(), **sizes, "rows": rows, "models": models, "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    sizes = [f"{result[name]:,} {name}" for name in ("events", "users", "items")]
    lines = [", ".join(sizes), f"{'stage':20} {'minutes':>8} " + " ".join(f"{kind + ' GiB':>12}" for kind in _KINDS)]
    lines += [
        f"{row['stage']:20} {row['minutes']:8.2f} " + " ".join(f"{row[f'{kind}_gib']:12.2f}" for kind in _KINDS)
        for row in result["rows"]
    ]
    lines += [
        f"{row['model']:20} {row['params']:12,} parameters  ndcg@10 {row['ndcg@10']:.4f}" for row in result["models"]
    ]
    ratios = [f"{name} {value:.3f}" for name, value in result["ratios"].items()]
    return "\n".join([*lines, *ratios, result["machine"]])


def _night(logs: Path, root: Path, changes: list[str]) -> PeakMemory:
    """Run it; what its log says is passed on, and tells which stage is at work."""
    paths = [f"data.{table}.paths={logs / table}" for table in ("interactions", "users", "items")]
    settings = [part for change in (*paths, *changes) for part in ("--set", change)]
    command = [Path(sys.executable).with_name("kdspark"), "run", "--config", _CONFIG, "--root", root]
    command += ["--date", LAST_DAY.isoformat()]
    with (
        subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as night,
        PeakMemory(night.pid) as peaks,
    ):
        assert night.stderr is not None
        for line in night.stderr:
            sys.stderr.write(line)
            if found := _STARTING.search(line.rstrip()):
                peaks.phase = found[1]
    if night.returncode:
        raise StageError(f"The night ended with {night.returncode}.", "Look above for its own words.")
    return peaks


def _seconds(root: Path) -> dict[str, float]:
    """Of each stage, by its manifest, in the order in which they ended."""
    paths = sorted((root / "stages").glob("*/*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    return {found["stage"]: found["seconds"] for found in map(read_json, paths)}


def _models(root: Path) -> list[dict[str, Any]]:
    (path,) = (root / "stages" / EVALUATE).glob(f"*/{COMPARISON}")
    return [
        {"model": row["model"], "params": row["params"], "ndcg@10": row["metrics"]["ndcg@10"]["value"]}
        for row in read_json(path)["models"]
    ]
