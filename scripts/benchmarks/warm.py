"""Warm start over nights in a row: each night's student from last night's at a third of the epochs, and from scratch.

The log grows by a week between nights, with new users and items, and each night has a teacher of its own. What is
published, and so started from, is the warm student of every night; the one from scratch is trained beside it on the
same labels. Test events are those of the night.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from nights import GROCERIES, ML100K, Log, night_of, ratio_lines, run_compared

from kdspark.errors import ConfigError
from kdspark.report.comparison import STUDENT, TEACHER
from kdspark.stages import student
from kdspark.stages.evaluate import NAME as EVALUATE
from kdspark.stages.pipeline import run_night
from kdspark.stages.runner import Runner
from kdspark.workspace import read_json

_METRIC = "ndcg@10"


@dataclass(frozen=True)
class Nights:
    """A log that grows, the nights' dates, and overrides of them all."""

    log: Log
    dates: tuple[str, ...]
    overrides: tuple[str, ...] = ()


BENCHES = {
    "distill-warm": Nights(ML100K, ("1998-03-29", "1998-04-05", "1998-04-12", "1998-04-19")),
    # Some weeks of this log are no better foretold than by popularity; what is compared here is two students, and one
    # epoch of a twin stands for what a night would train beside them for minutes.
    "distill-warm-groceries": Nights(
        GROCERIES,
        ("2017-12-10", "2017-12-17", "2017-12-24", "2017-12-31"),
        (
            "gate.min_ratio_to_popularity=0",
            "baselines=[]",
            "student_plain={kind: mf, dim: 16, training: {epochs: 1}}",
        ),
    ),
}


def run(name: str, data: Path | None, out: Path, seeds: list[int], changes: list[str]) -> dict[str, Any]:
    """The nights, for each seed in a root of its own; of the first, which has nothing to start from, no row.

    Args:
        changes: overrides of the configuration; those of `warm_start` are not for the nights from scratch.

    Raises:
        ConfigError: a later night's student started cold.
    """
    bench = BENCHES[name]
    first, *later = bench.dates
    warm, fresh = list[dict[str, Any]](), list[dict[str, Any]]()
    for seed in seeds:
        root = out / f"seed-{seed}"
        common = [f"seed={seed}", *bench.overrides, *bench.log.overrides(data)]
        going_on = [*common, "warm_start={}", *changes]
        anew = [*common, *(change for change in changes if not change.startswith("warm_start"))]
        run_night(night_of(name, bench.log, first, going_on, root))
        for date in later:
            runner = run_night(night_of(name, bench.log, date, going_on, root))
            _require_warm(runner, date)
            warm.append(_row(runner, date, "warm", seed))
            runner = run_compared(night_of(name, bench.log, date, anew, root))
            fresh.append(_row(runner, date, "fresh", seed))
    ratios = {
        "warm_vs_fresh": _mean(warm, "student") / _mean(fresh, "student"),
        "warm_vs_teacher": _mean(warm, "student") / _mean(warm, "teacher"),
        "fresh_vs_teacher": _mean(fresh, "student") / _mean(fresh, "teacher"),
        "warm_steps": _mean(warm, "epochs") / _mean(fresh, "epochs"),
    }
    return {"bench": name, "rows": [row for pair in zip(warm, fresh, strict=True) for row in pair], "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{'night':10} {'start':5} {'seed':>4} {'epochs':>6} {'seconds':>7} {'teacher':>8} {'student':>8}"]
    lines += [
        f"{row['night']:10} {row['start']:5} {row['seed']:>4} {row['epochs']:>6} {row['seconds']:>7.1f} "
        f"{row['teacher']:8.4f} {row['student']:8.4f}"
        for row in result["rows"]
    ]
    return "\n".join([*lines, *ratio_lines(result["ratios"])])


def _mean(rows: list[dict[str, Any]], column: str) -> float:
    return mean(row[column] for row in rows)


def _require_warm(runner: Runner, date: str) -> None:
    reason = runner.manifest(student.name("train")).facts["cold_start"]
    if reason is not None:
        raise ConfigError(f"The student of {date} started cold: {reason}.", "Change nothing between the nights.")


def _row(runner: Runner, date: str, start: str, seed: int) -> dict[str, Any]:
    models = {
        row["model"]: row["metrics"][_METRIC]["value"]
        for row in read_json(runner.output(EVALUATE) / "comparison.json")["models"]
    }
    trained = read_json(runner.output(student.name("train")) / student.MODEL / "training.json")
    return {
        "night": date,
        "start": start,
        "seed": seed,
        "epochs": len(trained["curve"]),
        "seconds": trained["seconds"],
        "teacher": models[TEACHER],
        "student": models[STUDENT],
    }
