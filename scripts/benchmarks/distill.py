"""Distillation benchmarks: teacher, student without and with distillation on public logs, on the test events.

Settings come from conf/, chosen on validation events. The final training sees the validation events too wherever the
published split has none (Gowalla), so that figures compare with those in papers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from kdspark.config import load_config
from kdspark.report.comparison import STUDENT, STUDENT_PLAIN, TEACHER
from kdspark.spark.session import build_session
from kdspark.stages import teacher
from kdspark.stages.evaluate import NAME as EVALUATE
from kdspark.stages.pipeline import run_night
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace, parse_date, read_json

_VERBS = ("prepare", "train-teacher", "soft-labels", "train-student", "evaluate")  # a night without publishing


@dataclass(frozen=True)
class Bench:
    """One log: its configuration, the night's date, the metrics to show, and overrides of the final runs.

    Attributes:
        inputs: configuration keys of input paths -> file below the data folder.
        same_teacher: train the teacher with the first seed only, since nothing in it is random.
        recall, ndcg: the metrics of the ratios.
    """

    config: str
    date: str
    metrics: tuple[str, ...]
    inputs: dict[str, str]
    overrides: tuple[str, ...] = ()
    same_teacher: bool = False
    recall: str = "recall@20"
    ndcg: str = "ndcg@20"


@dataclass
class _Rows:
    rows: list[dict[str, Any]] = field(default_factory=list)

    def mean(self, method: str, metric: str) -> float:
        return mean(row["metrics"][metric] for row in self.rows if row["method"] == method)


BENCHES = {
    "distill-gowalla": Bench(
        config="conf/gowalla.yaml",
        date="2010-12-31",
        metrics=("recall@10", "recall@20", "recall@50", "ndcg@20"),
        inputs={"data.interactions.paths": "train.parquet", "data.split.test.paths": "test.parquet"},
        overrides=("data.split.valid_fraction=0",),
        same_teacher=True,
    ),
    "distill-ml100k": Bench(
        config="conf/ml100k.yaml",
        date="1998-04-23",
        metrics=("recall@10", "recall@20", "recall@50", "ndcg@10", "ndcg@20"),
        inputs={
            "data.interactions.paths": "ml-100k.inter",
            "data.users.paths": "ml-100k.user",
            "data.items.paths": "ml-100k.item",
        },
        overrides=("evaluation.ks=[10, 20, 50]", "data.split.n_test=5"),
        ndcg="ndcg@10",
    ),
}


def run(name: str, data: Path | None, out: Path, seeds: list[int]) -> dict[str, Any]:
    """Run a benchmark with each seed; nothing is published."""
    bench = BENCHES[name]
    found = _Rows()
    teacher_folder: Path | None = None
    for seed in seeds:
        overrides = [f"seed={seed}", *bench.overrides]
        overrides += [f"{key}={data / file}" for key, file in bench.inputs.items()] if data else []
        if bench.same_teacher and teacher_folder is not None:
            overrides.append(f"teacher={{kind: pretrained, path: {teacher_folder}}}")
        config = load_config(bench.config, overrides)
        night = Night(
            config, parse_date(bench.date), Workspace(out), lambda config=config: build_session(config.spark, name)
        )
        for verb in _VERBS:
            runner = run_night(night, verb)
        teacher_folder = teacher_folder or runner.output(teacher.name("train")) / teacher.MODEL
        comparison = read_json(runner.output(EVALUATE) / "comparison.json")
        found.rows += [_row(model, seed, bench) for model in comparison["models"]]
    ratios = {
        "student_vs_teacher": found.mean(STUDENT, bench.ndcg) / found.mean(TEACHER, bench.ndcg),
        "student_vs_plain": found.mean(STUDENT, bench.ndcg) / found.mean(STUDENT_PLAIN, bench.ndcg),
        "recall_at_20": found.mean(STUDENT, "recall@20"),
        "ndcg_at_20": found.mean(STUDENT, "ndcg@20"),
    }
    return {"bench": name, "rows": found.rows, "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    metrics = list(result["rows"][0]["metrics"])
    lines = [f"{'method':14} {'seed':>4} {'params':>11} {'seconds':>8}  " + "  ".join(f"{name:>9}" for name in metrics)]
    for row in result["rows"]:
        figures = "  ".join(f"{row['metrics'][name]:9.4f}" for name in metrics)
        lines.append(f"{row['method']:14} {row['seed']:>4} {row['params']:>11,} {row['seconds']:>8.1f}  {figures}")
    return "\n".join([*lines, "", *(f"{name}: {value:.4f}" for name, value in result["ratios"].items())])


def _row(model: dict[str, Any], seed: int, bench: Bench) -> dict[str, Any]:
    return {
        "method": model["model"],
        "seed": seed,
        "metrics": {name: model["metrics"][name]["value"] for name in bench.metrics},
        "params": model["params"],
        "bytes": model["bytes"],
        "seconds": model["train_seconds"],
    }
