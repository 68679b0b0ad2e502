"""What faults 31 and 34 measure, each in a process of its own: python -m tests.faults.measured WHAT …; prints JSON."""

import gc
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from kdspark.bridge.prepared import Prepared
from kdspark.bridge.recommendations import write_recommendations
from kdspark.bridge.scoring import INPUT, RankTask, Timing
from kdspark.bridge.shipping import ship
from kdspark.config import ScoringConfig, SparkConfig
from kdspark.spark.io import read_table
from kdspark.spark.session import build_session
from kdspark.stages.pipeline import run_verb
from kdspark.stages.score import recommendations
from kdspark.workspace import parse_date
from tests.faults.nights import DATE, SPARK, FaultyNight

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "benchmarks"))
from drawn_users import draw_bundle, draw_prepared
from memory import JVM, WORKERS, PeakMemory

_USERS, _ITEMS, _DIM = 40_000, 10_000, 32  # at 1x
_CONFIG = ScoringConfig(k=50)


def prepare(config: str, root: str) -> dict[str, float]:
    """Wall seconds of the verb, the session's start left out, and the peaks of the workers' and the JVM's GiB."""
    with PeakMemory(every_s=0.5) as peak:
        run_verb("prepare", config, DATE, root, [])
    (manifest,) = Path(root).glob("stages/prepare/*/manifest.json")
    seconds = json.loads(manifest.read_text())["seconds"]
    return {"seconds": seconds, "workers": peak.overall(WORKERS), "jvm": peak.overall(JVM)}


def threads(cpus: str) -> dict[str, Any]:
    """Torch's threads in each worker that ranks users, where a task has so many CPUs."""
    with TemporaryDirectory() as scratch, _session(**{"spark.task.cpus": cpus}) as spark:
        tables, bundle = _drawn(spark, Path(scratch), 400)
        task = RankTask(ship(spark, bundle), 5, 100, 64, Timing.of(spark))

        def ranked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            import torch

            rows = sum(batch.num_rows for batch in task(batches))
            yield pa.RecordBatch.from_pydict({"threads": [torch.get_num_threads()], "users": [rows]})

        users = read_table(spark, tables / "users_full").select(*INPUT).repartition(4)
        found = users.mapInArrow(ranked, "threads BIGINT, users BIGINT").collect()
        assert sum(row["users"] for row in found) == 400
        return {"torch": sorted({row["threads"] for row in found}), "tasks": len(found)}


def scoring(folder: str) -> dict[str, float]:
    """Seconds of scoring one, two and four times as many users; the best of three turns each."""
    found: dict[str, float] = {}
    with _session() as spark:
        drawn = {scale: _drawn(spark, Path(folder) / str(scale), scale * _USERS) for scale in (1, 2, 4)}
        for turn in range(4):  # the first one warms up
            for scale, (tables, bundle) in drawn.items():
                scratch, started = Path(folder) / f"{turn}-{scale}", perf_counter()
                lists = recommendations(spark, Prepared(tables), bundle, _CONFIG, scratch)
                rows = write_recommendations(lists, _CONFIG, parse_date(DATE), "drawn", scratch / "out")
                assert rows == scale * _USERS * _CONFIG.k
                seconds = perf_counter() - started
                if turn:
                    found[str(scale)] = min(seconds, found.get(str(scale), seconds))
    return found


def nights(folder: str) -> list[dict[str, int]]:
    """Open files and MiB of this process after each of five whole nights in it, one session for all."""
    found = []
    for number in range(5):
        night = FaultyNight(Path(folder) / str(number))
        run_verb("run", str(night.config), DATE, str(night.root), [])
        gc.collect()
        resident = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert resident is not None
        found.append({"files": len(list(Path("/proc/self/fd").iterdir())), "mib": int(resident[1]) >> 10})
    return found


def _session(**settings: str) -> SparkSession:
    return build_session(SparkConfig(master="local[2,4]", settings={**SPARK["settings"], **settings}), "measured")


def _drawn(spark: SparkSession, folder: Path, users: int) -> tuple[Path, Path]:
    """A prepare stage's tables and a bundle."""
    draw_prepared(spark, folder / "prepare", users, _ITEMS)
    draw_bundle(folder / "bundle", _ITEMS, _DIM)
    return folder / "prepare", folder / "bundle"


MEASURES: dict[str, Callable[..., Any]] = {found.__name__: found for found in (prepare, threads, scoring, nights)}

if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[1]](*sys.argv[2:])))
