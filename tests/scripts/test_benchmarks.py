"""Benchmarks run for hours: every part of every one must be a valid configuration before they start."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from kdspark.config import MFConfig, load_config
from kdspark.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmarks"


@pytest.fixture(scope="module")
def distill() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        import distill

        yield distill
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("name", ["distill-filmtrust", "distill-groceries"])
def test_logs_that_no_default_was_chosen_on_say_data_and_models_alone(
    distill: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER.parents[1])
    config = load_config(distill.BENCHES[name].config, [])
    said = yaml.safe_load(Path(distill.BENCHES[name].config).read_text())
    assert {*said} == {"name", "data", "teacher", "student"}, "a section beyond data and models says how they learn"
    assert config.student == MFConfig(dim=16)
    teachers = said["teacher"].get("members", [said["teacher"]])
    assert all({*teacher} <= {"kind", "dim", "dropout"} for teacher in teachers)


@pytest.mark.parametrize("name", ["distill-ml100k", "distill-games", "distill-gowalla"])
def test_every_part_is_a_valid_configuration(distill: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parents[1])
    bench = distill.BENCHES[name]
    parts = [part for part in distill.PARTS if part == "main" or part in distill._read(bench.variants)]
    found = [*distill._variants(bench, parts)]
    assert {part for part, _, _ in found} == {*parts}
    assert len({(part, label) for part, label, _ in found}) == len(found) > 1
    for _, _, overrides in found:
        config = load_config(bench.config, [*bench.overrides, *overrides])
        assert {f"{name}@{k}" for name in ("recall", "ndcg") for k in config.evaluation.ks} >= {bench.ndcg}


def test_a_part_that_a_benchmark_does_not_have_is_named(distill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parents[1])
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
