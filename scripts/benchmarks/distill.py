"""Distillation benchmarks: teacher, student without and with distillation on public logs, on the test events.

Settings come from conf/, chosen on validation events. The final training sees the validation events too wherever the
published split has none (Gowalla), so that figures compare with those in papers.

A benchmark has parts: `main` is the configuration as it is; `methods`, each distillation loss by itself with the
settings that suit it best; `sizes`, the student in other sizes; `bytes`, students of other sizes in every storage.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, get_args

import yaml
from nights import GROCERIES, ML100K, Log, night_of, ratio_lines, run_compared
from stored import measure_stored, tail_name

from kdspark.config import Storage
from kdspark.errors import ConfigError
from kdspark.report.comparison import STUDENT, STUDENT_PLAIN, TEACHER
from kdspark.stages import student, teacher
from kdspark.stages.evaluate import NAME as EVALUATE
from kdspark.stages.pipeline import stages_of
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.stages.trial import stages_up_to
from kdspark.workspace import read_json

PARTS = ("main", "methods", "sizes", "bytes")
_ALONE = {"methods": ("float32",), "bytes": get_args(Storage)}
"""Parts whose students are trained and measured alone, without a comparison of the night: in which storages."""


@dataclass(frozen=True)
class Bench:
    """One log: the night's date, the metrics to show, and overrides of the final runs.

    Attributes:
        variants: YAML file of the parts beyond `main`: part -> name -> overrides.
        same_teacher: train the teacher with the first seed only, since nothing in it is random.
        ndcg: the metric by which students are compared.
    """

    log: Log
    date: str
    metrics: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    variants: str | None = None
    same_teacher: bool = False
    ndcg: str = "ndcg@20"


@dataclass
class _Rows:
    rows: list[dict[str, Any]] = field(default_factory=list)

    def mean(self, method: str, metric: str) -> float:
        return mean(row["metrics"][metric] for row in self.rows if row["method"] == method)


BENCHES = {
    "distill-filmtrust": Bench(
        log=Log("conf/filmtrust.yaml", {"data.interactions.paths": "ratings.tab"}),
        date="2011-12-31",
        metrics=("recall@10", "recall@20", "ndcg@10", "ndcg@20", "recall_tail@20"),
        ndcg="ndcg@10",
    ),
    "distill-games": Bench(
        log=Log("conf/games.yaml", {"data.interactions.paths": "interactions.parquet"}),
        date="2018-12-31",
        metrics=("recall@10", "recall@20", "recall@50", "ndcg@10", "ndcg@20", "recall_tail@20"),
        variants="conf/games-variants.yaml",
        ndcg="ndcg@10",
    ),
    "distill-gowalla": Bench(
        log=Log(
            "conf/gowalla.yaml", {"data.interactions.paths": "train.parquet", "data.split.test.paths": "test.parquet"}
        ),
        date="2010-12-31",
        metrics=("recall@10", "recall@20", "recall@50", "ndcg@20", "recall_tail@20"),
        overrides=("data.split.valid_fraction=0",),
        variants="conf/gowalla-variants.yaml",
        same_teacher=True,
    ),
    "distill-groceries": Bench(
        log=GROCERIES,
        date="2017-12-31",
        metrics=("recall@10", "recall@20", "ndcg@10", "ndcg@20", "recall_tail@20"),
        ndcg="ndcg@10",
    ),
    "distill-ml100k": Bench(
        log=ML100K,
        date="1998-04-23",
        metrics=("recall@10", "recall@20", "recall@50", "ndcg@10", "ndcg@20", "recall_tail@20"),
        overrides=("evaluation.ks=[10, 20, 50]", "data.split.n_test=5"),
        variants="conf/ml100k-variants.yaml",
        ndcg="ndcg@10",
    ),
}


def run(
    name: str, data: Path | None, out: Path, seeds: list[int], parts: list[str], changes: list[str]
) -> dict[str, Any]:
    """Run a benchmark with each seed; nothing is published.

    Args:
        changes: overrides of the configuration.

    Raises:
        ConfigError: a part that the benchmark does not have.
    """
    bench = BENCHES[name]
    found = _Rows()
    teacher_folder: Path | None = None
    for seed in seeds:
        common = [f"seed={seed}", *bench.overrides, *bench.log.overrides(data)]
        if bench.same_teacher and teacher_folder is not None:
            common.append(f"teacher={{kind: pretrained, path: {teacher_folder}}}")
        for part, label, overrides in _variants(bench, parts):
            night = night_of(name, bench.log, bench.date, [*common, *overrides, *changes], out)
            if part in _ALONE:
                runner = _trained(night)
                found.rows += [
                    _alone_row(row, part, label, seed, bench) for row in measure_stored(runner, _ALONE[part])
                ]
            else:
                runner = run_compared(night)
                comparison: dict[str, Any] = read_json(runner.output(EVALUATE) / "comparison.json")
                found.rows += list(_rows(comparison, label, seed, bench, seen={_key(row) for row in found.rows}))
            teacher_folder = teacher_folder or runner.output(teacher.name("train")) / teacher.MODEL
    ratios = {}
    if "main" in parts:
        ratios = {
            "student_vs_teacher": found.mean(STUDENT, bench.ndcg) / found.mean(TEACHER, bench.ndcg),
            "student_vs_plain": found.mean(STUDENT, bench.ndcg) / found.mean(STUDENT_PLAIN, bench.ndcg),
            "recall_at_20": found.mean(STUDENT, "recall@20"),
            "ndcg_at_20": found.mean(STUDENT, "ndcg@20"),
        }
    return {"bench": name, "rows": found.rows, "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    metrics = list(max((row["metrics"] for row in result["rows"]), key=len))
    lines = [
        f"{'method':24} {'seed':>4} {'params':>11} {'seconds':>8} {'s/epoch':>7}  "
        + "  ".join(f"{name:>14}" for name in metrics)
    ]
    for row in result["rows"]:
        measured = row["metrics"]
        figures = "  ".join(f"{measured[name]:14.4f}" if name in measured else f"{'':14}" for name in metrics)
        epoch = f"{row['epoch_seconds']:7.2f}" if row["epoch_seconds"] else f"{'':7}"
        lines.append(
            f"{row['method']:24} {row['seed']:>4} {row['params']:>11,} {row['seconds']:>8.1f} {epoch}  {figures}"
        )
    for pair in result["rows"]:
        lines += [
            f"{pair['method']} seed {pair['seed']}, {metric} against {other}: "
            f"{found['difference']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"
            for other, metric, found in pair["paired"]
        ]
    return "\n".join([*lines, *ratio_lines(result["ratios"])])


def _variants(bench: Bench, parts: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """(part, label, overrides); the configuration itself has no label."""
    known = {"main"} | (set(_read(bench.variants)) if bench.variants else set())
    if unknown := sorted(set(parts) - known):
        raise ConfigError(f"No part {', '.join(unknown)} in this benchmark.", f"It has {', '.join(sorted(known))}.")
    if "main" in parts:
        yield "main", "", []
    for part in parts:
        if part != "main" and bench.variants:
            yield from ((part, label, overrides) for label, overrides in _read(bench.variants)[part].items())


def _read(path: str) -> dict[str, dict[str, list[str]]]:
    """Part -> name -> overrides; those of several names may be one list with an anchor among a name's own."""
    parts = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return {
        part: {name: [*_flat(overrides)] for name, overrides in names.items()}
        for part, names in parts.items()
        if part in PARTS
    }


def _flat(overrides: list[Any]) -> Iterator[str]:
    for override in overrides:
        yield from _flat(override) if isinstance(override, list) else [override]


def _trained(night: Night) -> Runner:
    """A night's student and what it needs, nothing else."""
    stages = stages_of(night.config)
    runner = Runner(night, stages)
    runner.run(stages_up_to(student.name("train"), stages))
    return runner


def _key(row: dict[str, Any]) -> tuple[str, int]:
    return row["method"], row["seed"]


def _rows(
    comparison: dict[str, Any], label: str, seed: int, bench: Bench, seen: set[tuple[str, int]]
) -> Iterator[dict[str, Any]]:
    """Of a variant its students alone."""
    for model in comparison["models"]:
        if label and model["model"] not in (STUDENT, STUDENT_PLAIN):
            continue
        method = f"{model['model']}, {label}" if label else model["model"]
        if (method, seed) not in seen:
            yield _row(model, comparison, method, seed, bench)


def _alone_row(stored: dict[str, Any], part: str, label: str, seed: int, bench: Bench) -> dict[str, Any]:
    metrics = {name: stored["metrics"][name] for name in bench.metrics if name in stored["metrics"]}
    method = f"{label}, {stored['storage']}" if part == "bytes" else label
    return {**stored, "method": method, "seed": seed, "metrics": metrics, "paired": []}


def _row(model: dict[str, Any], comparison: dict[str, Any], method: str, seed: int, bench: Bench) -> dict[str, Any]:
    curve = comparison["curves"].get(model["model"], [])
    tail = {row["label"]: row["metrics"] for row in model["slices"]["popularity"]}.get("tail", {})
    figures = {name: found["value"] for name, found in model["metrics"].items()}
    figures |= {tail_name(name): found["value"] for name, found in tail.items()}
    return {
        "method": method,
        "seed": seed,
        "metrics": {name: figures[name] for name in bench.metrics},
        "params": model["params"],
        "bytes": model["bytes"],
        "seconds": model["train_seconds"],
        "epoch_seconds": mean(row["seconds"] for row in curve) if curve else None,
        "paired": [
            (pair["b"], bench.ndcg, {name: pair[name] for name in ("difference", "low", "high")})
            for pair in comparison["paired"]
            if pair["a"] == model["model"] == STUDENT
            and pair["b"] in (TEACHER, STUDENT_PLAIN)
            and pair["metric"] == bench.ndcg
        ],
    }
