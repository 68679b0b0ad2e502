"""Benchmarks run for hours: every part must be a valid configuration before they start, and JSON what was promised."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from kdspark.config import MFConfig, load_config
from kdspark.errors import ConfigError
from kdspark.report.comparison import STUDENT, STUDENT_PLAIN, TEACHER
from kdspark.stages.stage import Night
from kdspark.workspace import parse_date, write_json

ROOT = Path(__file__).parents[2]
_METRICS = ("recall@10", "recall@20", "recall@50", "ndcg@10", "ndcg@20")


@pytest.mark.parametrize("name", ["distill-filmtrust", "distill-groceries"])
def test_logs_that_no_default_was_chosen_on_say_data_and_models_alone(
    distill: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(distill.BENCHES[name].log.config, [])
    said = yaml.safe_load(Path(distill.BENCHES[name].log.config).read_text())
    assert {*said} == {"name", "data", "teacher", "student"}, "a section beyond data and models says how they learn"
    assert config.student == MFConfig(dim=16)
    teachers = said["teacher"].get("members", [said["teacher"]])
    assert all({*teacher} <= {"kind", "dim", "dropout"} for teacher in teachers)


@pytest.mark.parametrize("name", ["distill-ml100k", "distill-games", "distill-gowalla"])
def test_every_part_is_a_valid_configuration(distill: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    bench = distill.BENCHES[name]
    parts = [part for part in distill.PARTS if part == "main" or part in distill._read(bench.variants)]
    found = [*distill._variants(bench, parts)]
    assert {part for part, _, _ in found} == {*parts}
    assert len({(part, label) for part, label, _ in found}) == len(found) > 1
    for _, _, overrides in found:
        config = load_config(bench.log.config, [*bench.overrides, *overrides])
        assert {f"{name}@{k}" for name in ("recall", "ndcg") for k in config.evaluation.ks} >= {bench.ndcg}


def test_nights_in_a_row_are_valid_and_in_order(distill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    from warm import BENCHES  # found beside `distill`

    for bench in BENCHES.values():
        first, *later = [parse_date(date) for date in bench.dates]
        assert later
        assert [first, *later] == sorted({first, *later})
        config = load_config(bench.log.config, [*bench.overrides, "warm_start={}"])
        assert config.warm_start is not None
        epochs = config.student.training.epochs
        assert config.warm_start.epochs(config.student.training) <= epochs / 3, "more than a third of the steps"


def test_a_part_that_a_benchmark_does_not_have_is_named(distill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match="No part bytes, nothing in this benchmark"):
        list(distill._variants(distill.BENCHES["distill-games"], ["main", "bytes", "nothing"]))


def test_the_table_has_rows_with_fewer_metrics(distill: ModuleType) -> None:
    row = {"seed": 1, "params": 10, "seconds": 1.0, "epoch_seconds": None, "paired": []}
    rows = [
        {**row, "method": "alone", "metrics": {"ndcg@20": 0.5}},
        {**row, "method": "student", "metrics": {"recall_tail@20": 0.25, "ndcg@20": 0.75}},
    ]
    lines = distill.text_table({"rows": rows, "ratios": {"ndcg_at_20": 0.75}}).splitlines()
    assert lines[0].split()[-2:] == ["recall_tail@20", "ndcg@20"]
    assert [line.split()[-1] for line in lines[1:3]] == ["0.5000", "0.7500"]
    assert lines[-1] == "ndcg_at_20: 0.7500"


def _comparison(ndcg: dict[str, float]) -> dict[str, object]:
    return {
        "models": [
            {
                "model": name,
                "metrics": {metric: {"value": value} for metric in _METRICS},
                "slices": {"popularity": [{"label": "tail", "metrics": {"recall@20": {"value": value / 2}}}]},
                "params": 10,
                "bytes": 40,
                "train_seconds": 3.0,
            }
            for name, value in ndcg.items()
        ],
        "curves": {STUDENT: [{"seconds": 1.0}, {"seconds": 2.0}]},
        "paired": [
            {"a": STUDENT, "b": other, "metric": "ndcg@10", "difference": 0.1, "low": 0.0, "high": 0.2}
            for other in (TEACHER, STUDENT_PLAIN, "popularity")
        ],
    }


def test_json_has_rows_and_ratios_of_the_means_over_seeds(
    distill: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)

    class Ran:
        """A night's outputs, by seed."""

        def __init__(self, night: Night) -> None:
            self.folder = tmp_path / str(night.config.seed)
            self.folder.mkdir()
            student = {1: 0.5, 2: 0.25}[night.config.seed]
            ndcg = {"popularity": 0.125, TEACHER: 0.5, STUDENT_PLAIN: 0.25, STUDENT: student}
            write_json(self.folder / "comparison.json", _comparison(ndcg))

        def output(self, _: str) -> Path:
            return self.folder

    monkeypatch.setattr(distill, "run_compared", Ran)
    result = json.loads(json.dumps(distill.run("distill-ml100k", None, tmp_path / "out", [1, 2], ["main"], [])))
    assert {*result} == {"bench", "rows", "ratios"}
    assert result["ratios"] == {
        "student_vs_teacher": 0.75,
        "student_vs_plain": 1.5,
        "recall_at_20": 0.375,
        "ndcg_at_20": 0.375,
    }
    assert [(row["method"], row["seed"]) for row in result["rows"][3::4]] == [(STUDENT, 1), (STUDENT, 2)]
    last = result["rows"][-1]
    assert last["metrics"] == dict.fromkeys(_METRICS, 0.25) | {"recall_tail@20": 0.125}
    assert (last["params"], last["bytes"], last["seconds"], last["epoch_seconds"]) == (10, 40, 3.0, 1.5)
    assert [pair[0] for pair in last["paired"]] == [TEACHER, STUDENT_PLAIN]
