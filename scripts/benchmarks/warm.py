"""Warm start over nights in a row: each night's student from last night's at a third of the epochs, and from scratch.

The log grows by a week between nights, with new users and items, and each night has a teacher of its own. What is
published, and so started from, is the warm student of every night; the one from scratch is trained beside it on the
same labels. Test events are those of the night, leave-one-out by time.
"""

from pathlib import Path
from statistics import mean
from typing import Any

from kdspark.config import load_config
from kdspark.errors import ConfigError
from kdspark.report.comparison import STUDENT, TEACHER
from kdspark.spark.session import build_session
from kdspark.stages import student
from kdspark.stages.evaluate import NAME as EVALUATE
from kdspark.stages.pipeline import run_night
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace, parse_date, read_json

NAME = "distill-warm"
_CONFIG, _METRIC = "conf/ml100k.yaml", "ndcg@10"
_INPUTS = {
    "data.interactions.paths": "ml-100k.inter",
    "data.users.paths": "ml-100k.user",
    "data.items.paths": "ml-100k.item",
}
_NIGHTS = ("1998-03-29", "1998-04-05", "1998-04-12", "1998-04-19")
_COMPARED = ("prepare", "train-teacher", "soft-labels", "train-student", "evaluate")  # a night without publishing


def run(data: Path | None, out: Path, seeds: list[int], changes: list[str]) -> dict[str, Any]:
    """The nights, for each seed in a root of its own; the first has nothing to start from.

    Args:
        changes: overrides of the configuration.
    """
    rows = []
    for seed in seeds:
        common = [f"seed={seed}"]
        common += [f"{key}={data / file}" for key, file in _INPUTS.items()] if data else []
        for date in _NIGHTS:
            for start, overrides in {"warm": ["warm_start={}"], "fresh": []}.items():
                night = _night(date, out / f"seed-{seed}", [*common, *overrides, *changes])
                if start == "warm":
                    runner = run_night(night)
                else:
                    for verb in _COMPARED:
                        runner = run_night(night, verb)
                if start == "warm" and date != _NIGHTS[0]:
                    _require_warm(runner, date)
                rows.append(_row(runner, date, start, seed))
    later = [row for row in rows if row["night"] != _NIGHTS[0]]
    warm, fresh = ([row for row in later if row["start"] == start] for start in ("warm", "fresh"))
    ratios = {
        "warm_vs_fresh": mean(row["student"] for row in warm) / mean(row["student"] for row in fresh),
        "warm_vs_teacher": mean(row["student"] for row in warm) / mean(row["teacher"] for row in warm),
        "fresh_vs_teacher": mean(row["student"] for row in fresh) / mean(row["teacher"] for row in fresh),
        "warm_steps": mean(row["epochs"] for row in warm) / mean(row["epochs"] for row in fresh),
    }
    return {"bench": NAME, "rows": rows, "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{'night':10} {'start':5} {'seed':>4} {'epochs':>6} {'seconds':>7} {'teacher':>8} {'student':>8}"]
    lines += [
        f"{row['night']:10} {row['start']:5} {row['seed']:>4} {row['epochs']:>6} {row['seconds']:>7.1f} "
        f"{row['teacher']:8.4f} {row['student']:8.4f}"
        for row in result["rows"]
    ]
    return "\n".join([*lines, "", *(f"{name}: {value:.4f}" for name, value in result["ratios"].items())])


def _night(date: str, root: Path, overrides: list[str]) -> Night:
    config = load_config(_CONFIG, overrides)
    return Night(config, parse_date(date), Workspace(root), lambda: build_session(config.spark, NAME))


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
