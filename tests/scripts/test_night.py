"""The benchmarks of a whole night and of its growth, on tiny logs: what they report, not how long it takes."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import SparkSession

from kdspark.config import load_config

LARGE = Path(__file__).parents[2] / "conf" / "large.yaml"


@pytest.fixture(scope="module")
def log(distill: ModuleType, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import logs  # found beside `distill`
    from make_logs import generate

    path = tmp_path_factory.mktemp("night") / "log"
    generate(spark, logs.Shape(users=200, items=150, events=10_000), path)
    return path


def test_the_configuration_of_a_large_log_suits_generated_ones(log: Path) -> None:
    large, own = load_config(LARGE, []), load_config(log / "config.yaml", [])
    assert large.data.columns == own.data.columns
    for table in ("users", "items"):
        one, other = (getattr(config.data, table).model_dump(exclude={"paths"}) for config in (large, own))
        assert one == other


@pytest.mark.bench
def test_a_night_reports_its_stages_and_models(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import night  # found beside `distill`

    monkeypatch.setattr(night, "generated_log", lambda *_: log)
    few = ["student.training.epochs=5", "student_plain.training.epochs=1", "teacher.rank=4", "teacher.iterations=1"]
    result = night.run(tmp_path, [*few, "gate.min_ratio_to_popularity=0"], events=10_000, items=150)
    stages = [row["stage"] for row in result["rows"]]
    assert (stages[0], stages[-1]) == ("prepare", "publish")
    assert {"train_teacher", "soft_labels", "train_plain", "train_student", "score", "evaluate"} < set(stages)
    assert sum(row["minutes"] for row in result["rows"]) < result["ratios"]["minutes"]
    for row in result["rows"]:
        assert row["all_gib"] <= result["ratios"]["peak_gib"]
    assert result["rows"][0]["jvm_gib"] > 0.1
    assert {"popularity", "teacher", "student", "student_plain"} == {row["model"] for row in result["models"]}
    assert "peak_gib" in night.text_table(result)
    assert not (tmp_path / "night").exists()


@pytest.mark.slow
def test_parts_of_a_night_at_three_scales(
    spark: SparkSession, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import scaling  # found beside `distill`

    monkeypatch.setattr(scaling, "generated_log", lambda *_: log)
    monkeypatch.setattr(scaling, "build_session", lambda *_: spark)
    monkeypatch.setattr(scaling, "run_verb", lambda verb, config, date, root, _: Path(root, verb).mkdir(parents=True))
    monkeypatch.setattr(scaling, "_apart", lambda work: work())
    result = scaling.run(tmp_path, events=1_000, users=40, items=150)
    assert [(row["part"], row["scale"], row["units"]) for row in result["rows"][2:5]] == [
        ("features", 16, 16_000),
        ("labels", 1, 40),
        ("labels", 4, 160),
    ]
    assert {"features_16x", "labels_16x", "score_16x", "labels_marginal", "memory_16x_jvm"} < set(result["ratios"])
    assert "score_16x" in scaling.text_table(result)
    assert not list(tmp_path.iterdir())


def test_ratios_are_of_what_a_unit_costs(distill: ModuleType) -> None:
    import scaling  # found beside `distill`

    def row(scale: int, seconds: float, gib: float) -> dict[str, object]:
        memory = {"driver_gib": 1.0, "jvm_gib": gib, "workers_gib": 0.0, "all_gib": 1.0 + gib}
        return {
            "part": "score",
            "scale": scale,
            "units": 10 * scale,
            "cpu_seconds": seconds,
            "wall_seconds": 8.0,
            **memory,
        }

    ratios = scaling._ratios([row(1, 20.0, 1.0), row(4, 50.0, 1.0), row(16, 230.0, 1.5)])
    assert ratios == {
        "score_16x": pytest.approx(230 / 160 / 2),
        "score_16x_wall": pytest.approx(1 / 16),
        "score_marginal": pytest.approx((180 / 120) / (30 / 30)),
        "memory_16x_driver": 1.0,
        "memory_16x_jvm": 1.5,
    }


def test_peak_memory_of_all_that_was_started(distill: ModuleType) -> None:
    import memory  # found beside `distill`

    hold = "import time; held = bytearray(300 << 20); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with memory.PeakMemory(child.pid, every_s=0.01) as peaks:
            pass
        child.kill()
    assert 0.25 < peaks.overall() < 0.6
    assert peaks.overall(memory.DRIVER) == peaks.overall()
    assert peaks.overall(memory.JVM) == 0
