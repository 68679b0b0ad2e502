"""What an event, or a user, costs in a log four and sixteen times as large: prepare, soft labels, scoring.

Users and events grow, the catalogue stays. Prepare works on generated logs (scripts/make_logs), labels and scoring on
drawn histories and the vectors of a model that has no user table, through the functions of the stages. Each is measured
in a process of its own, from its start to its end, with a heap of 1 GiB for Spark's JVM.

The start of Python and Spark is part of the cost, and weighs less the larger the log. In `*_marginal` it cancels out:
what an event more costs between 4x and 16x over what it costs between 1x and 4x.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from drawn_users import draw_bundle, draw_prepared
from generated import EVENTS_PER_USER, ITEMS, LAST_DAY, generated_log
from memory import ALL, DRIVER, JVM, WORKERS, PeakMemory
from processes import cpu_seconds
from surroundings import machine

from kdspark.bridge.prepared import Prepared
from kdspark.bridge.recommendations import write_recommendations
from kdspark.config import Config, ScoringConfig, SparkConfig
from kdspark.spark.session import build_session
from kdspark.stages import labels, prepare, teacher
from kdspark.stages.pipeline import run_verb
from kdspark.stages.score import recommendations
from kdspark.stages.stage import Night, Task
from kdspark.workspace import Workspace

NAME = "scaling"
EVENTS, USERS, DIM = 1_250_000, 50_000, 64  # at 1x
_SCALES = (1, 4, 16)
_SETTINGS = {"spark.driver.memory": "1g"}
_KINDS = (DRIVER, JVM, WORKERS, ALL)
_COSTS = ("cpu_seconds", "wall_seconds")
Part = Callable[[int], Callable[[], None]]
"""From how many times as large to what is measured."""


def run(out: Path, repeats: int = 1, events: int = EVENTS, users: int = USERS, items: int = ITEMS) -> dict[str, Any]:
    """Seconds and GiB of each part at each scale, and their ratios.

    Args:
        out: the logs are kept there, and used again.
        repeats: turns, of which medians count. A turn is long, and its processor time varies little.
        events, users: at 1x, of the logs and of the drawn tables.
    """
    out = out.resolve()
    parts: dict[str, Part] = {
        "features": partial(_features, out, events, items),
        "labels": partial(_labels, out, users, items),
        "score": partial(_score, out, users, items),
    }
    rows = []
    for name, part in parts.items():
        works = {scale: part(scale) for scale in _SCALES}
        turns = [{scale: _measured(work) for scale, work in works.items()} for _ in range(repeats)]
        for scale in _SCALES:
            found = {key: median(turn[scale][key] for turn in turns) for key in turns[0][scale]}
            rows.append(
                {"part": name, "scale": scale, "units": scale * (events if name == "features" else users), **found}
            )
    shutil.rmtree(out / "drawn", ignore_errors=True)
    return {"bench": NAME, "machine": machine(), "rows": rows, "ratios": _ratios(rows)}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal; units are events of features, users of the others."""
    lines = [f"{'part':8} {'scale':>5} {'units':>10} {'cpu s':>8} {'wall s':>8} {'cpu us/unit':>12} " + _heads()]
    lines += [
        f"{row['part']:8} {row['scale']:4}x {row['units']:10,} {row['cpu_seconds']:8.1f} {row['wall_seconds']:8.1f} "
        f"{row['cpu_seconds'] / row['units'] * 1e6:12.1f} " + " ".join(f"{row[f'{kind}_gib']:11.2f}" for kind in _KINDS)
        for row in result["rows"]
    ]
    ratios = [f"{name} {value:.3f}" for name, value in result["ratios"].items()]
    return "\n".join([*lines, *ratios, result["machine"]])


def _heads() -> str:
    return " ".join(f"{kind + ' GiB':>11}" for kind in _KINDS)


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Costs per unit, by processor and wall time; of memory the part that grows the most."""
    ratios: dict[str, float] = {}
    growth: dict[str, list[float]] = {}
    for part in dict.fromkeys(row["part"] for row in rows):
        one, four, sixteen = (row for row in rows if row["part"] == part)
        for cost, suffix in zip(_COSTS, ("", "_wall"), strict=True):
            ratios[f"{part}_16x{suffix}"] = (sixteen[cost] / sixteen["units"]) / (one[cost] / one["units"])
        late, early = (
            (b["cpu_seconds"] - a["cpu_seconds"]) / (b["units"] - a["units"]) for a, b in ((four, sixteen), (one, four))
        )
        ratios[f"{part}_marginal"] = late / early
        for kind in _KINDS[:-1]:
            if one[f"{kind}_gib"]:
                growth.setdefault(kind, []).append(sixteen[f"{kind}_gib"] / one[f"{kind}_gib"])
    return ratios | {f"memory_16x_{kind}": max(found) for kind, found in growth.items()}


def _measured(work: Callable[[], None]) -> dict[str, float]:
    """In a process of its own, since what one has taken another must not be blamed for."""
    return _apart(partial(_measure, work))


def _apart(work: Callable[[], Any]) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work).result()


def _measure(work: Callable[[], None]) -> dict[str, float]:
    started = perf_counter()
    with PeakMemory(every_s=0.5) as peaks:
        work()
    sizes = {f"{kind}_gib": peaks.overall(kind) for kind in _KINDS}
    return {"cpu_seconds": cpu_seconds(), "wall_seconds": perf_counter() - started, **sizes}


def _features(out: Path, events: int, items: int, scale: int) -> Callable[[], None]:
    size = scale * events
    return partial(_prepare, generated_log(out, size // EVENTS_PER_USER, items, size), out / "prepared")


def _prepare(log: Path, root: Path) -> None:
    """`kdspark prepare`."""
    shutil.rmtree(root, ignore_errors=True)
    settings = [f"spark.settings={{{key}: {value}}}" for key, value in _SETTINGS.items()]
    run_verb("prepare", str(log / "config.yaml"), LAST_DAY.isoformat(), str(root), settings)
    shutil.rmtree(root)


def _drawn(out: Path, users: int, items: int) -> Path:
    folder = out / "drawn" / str(users)
    if not folder.exists():
        _apart(partial(_draw, folder, users, items))
    return folder


def _draw(folder: Path, users: int, items: int) -> None:
    draw_prepared(build_session(SparkConfig(settings=_SETTINGS), NAME), folder / "prepared", users, items)
    draw_bundle(folder / teacher.SERVING, items, DIM)


def _labels(out: Path, users: int, items: int, scale: int) -> Callable[[], None]:
    return partial(_label, _drawn(out, scale * users, items))


def _label(folder: Path) -> None:
    """The stage soft_labels, one row per user."""
    written = folder / "labels"
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir()
    config = Config.model_validate(
        {
            "data": {"interactions": {"paths": "-"}, "columns": {"user": "u", "item": "i", "timestamp": "t"}},
            "teacher": {"kind": "bag", "dim": DIM},
            "student": {"kind": "bag"},
            "soft_labels": {"positions": False, "scoring_inputs": 1},
            "distill": {"hard_weight": 0},
            "spark": {"settings": _SETTINGS},
        }
    )
    night = Night(config, LAST_DAY, Workspace(folder), lambda: build_session(config.spark, NAME))
    stage = labels.stage("train")
    inputs = {prepare.NAME: folder / "prepared", teacher.name("train"): folder}
    stage.build(Task(night, stage.name, "", {}, written, inputs, folder / "checkpoints"))
    shutil.rmtree(written)


def _score(out: Path, users: int, items: int, scale: int) -> Callable[[], None]:
    return partial(_recommend, _drawn(out, scale * users, items))


def _recommend(folder: Path) -> None:
    """The scoring stage's own functions."""
    written = folder / "lists"
    shutil.rmtree(written, ignore_errors=True)
    spark, prepared = build_session(SparkConfig(settings=_SETTINGS), NAME), Prepared(folder / "prepared")
    config = ScoringConfig()
    found = recommendations(spark, prepared, folder / teacher.SERVING, config, written / "scratch")
    write_recommendations(found, config, LAST_DAY, "drawn", written / "rows")
    shutil.rmtree(written)
