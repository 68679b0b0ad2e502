"""The scoring job under every rule at once against the same without any, and with one user who has seen 20,000 items.

Each is the whole job, from Parquet to Parquet; rules are compiled within it. Rules and factors are drawn: one of a
hundred items is denied to everyone and one of twenty is out of its window; ten segments are denied one of forty items
each, two more are allowed only half; one of five users has items of the user's own denied, one of a hundred is allowed
only 200; at most three items of one of 64 categories and two of one of 500 providers; boosts for one of twenty items,
and in three segments; diversity over the best 50; backfill. Methods take turns; ratios, of wall time, are medians over
turns.
"""

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from drawn import Drawn, Shape, rows_of, write
from processes import in_turns
from surroundings import machine

from kdspark.bridge.rules import ShippedRules, compile_rules
from kdspark.config import RulesConfig, SparkConfig
from kdspark.spark.session import build_session
from kdspark.spark.sources import list_files

NAME = "rules"
SHAPE = Shape(200_000, 50_000, 64)
_HEAVY = 20_000
_END = dt.datetime(2024, 3, 1, tzinfo=dt.timezone.utc)
_CATEGORIES, _PROVIDERS, _SEGMENTS = 64, 500, 12


def run(out: Path, shape: Shape = SHAPE, heavy: int = _HEAVY, repeats: int = 3, k: int = 10) -> dict[str, Any]:
    """Seconds of each method, and the ratios `rules_vs_none` and `heavy_user`."""
    spark = build_session(SparkConfig(settings={"spark.driver.memory": "6g"}), NAME)
    out = out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    drawn, burdened = (
        Drawn(spark, one, out / name, k) for name, one in (("none", shape), ("heavy_user", replace(shape, heavy=heavy)))
    )
    config = _drawn_rules(drawn, out / "rules")
    methods = {"none": drawn.job(), "rules": _ruled(drawn, config), "heavy_user": burdened.job()}
    turns = in_turns(methods, repeats)
    ratios = {
        ratio: median(one[1] / two[1] for one, two in zip(turns[name], turns["none"], strict=True))
        for ratio, name in (("rules_vs_none", "rules"), ("heavy_user", "heavy_user"))
    }
    shutil.rmtree(out)
    return {"bench": NAME, "machine": machine(), "rows": rows_of(turns, shape, k), "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{'method':10} {'cpu s':>8}  {'wall s':>8}"]
    lines += [f"{row['method']:10} {row['cpu_seconds']:8.2f}  {row['wall_seconds']:8.2f}" for row in result["rows"]]
    ratios = [f"{name} {value:.3f}" for name, value in result["ratios"].items()]
    return "\n".join([*lines, *ratios, result["machine"]])


def _ruled(drawn: Drawn, config: RulesConfig) -> Callable[[], object]:
    files = {key: list_files(drawn.spark, source) for key, source in config.tables.items()}
    events = np.ones(drawn.shape.items, np.int64)
    end_us = int(_END.timestamp()) * 1_000_000
    compiled = drawn.folder / "rules"

    def compile_anew() -> ShippedRules:
        shutil.rmtree(compiled, ignore_errors=True)
        return compile_rules(drawn.spark, config, files, drawn.folder, events, end_us, compiled)

    return drawn.job(compile_anew)


def _drawn_rules(drawn: Drawn, folder: Path) -> RulesConfig:
    """Tables of all kinds, written into a folder."""
    n_users, n_items = drawn.shape.users, drawn.shape.items
    generator = np.random.default_rng(1)

    def some(share: float) -> Any:
        return np.flatnonzero(generator.random(n_items) < share)

    def table(name: str, **columns: Any) -> dict[str, Any]:
        write(folder / name, columns, files=1)
        return {"paths": str(folder / name), **{key: key for key in columns}}

    def by_segment(name: str, share: float, segments: range, **more: Any) -> dict[str, Any]:
        items = [some(share) for _ in segments]
        names = [name for segment, part in zip(segments, items, strict=True) for name in [f"s{segment}"] * len(part)]
        values = {key: np.full(len(names), value) for key, value in more.items()}
        return table(name, segment=pa.array(names), item=np.concatenate(items), **values)

    def by_user(name: str, users: Any, each: int) -> dict[str, Any]:
        return table(name, user=np.repeat(users, each), item=generator.integers(0, n_items, len(users) * each))

    everyone, late = np.arange(n_items), some(0.05)
    segments = [f"s{segment}" for segment in generator.integers(0, _SEGMENTS, n_users)]
    ends = pa.array([_END - dt.timedelta(days=1)] * len(late), pa.timestamp("us", "UTC"))
    return RulesConfig(
        segments=table("segments", user=np.arange(n_users), segment=pa.array(segments)),
        lists=[
            {"kind": "deny", **table("denied", item=some(0.01))},
            {"kind": "deny", **by_segment("segments_denied", 0.025, range(10))},
            {"kind": "allow", **by_segment("segments_allowed", 0.5, range(10, _SEGMENTS))},
            {"kind": "deny", **by_user("users_denied", np.arange(0, n_users, 5), 5)},
            {"kind": "allow", **by_user("users_allowed", np.arange(0, n_users, 100), 200)},
        ],
        availability=table("windows", item=late, end=ends),
        caps=[
            {**table("categories", item=everyone, group=everyone % _CATEGORIES), "most": 3},
            {**table("providers", item=everyone, group=everyone % _PROVIDERS), "most": 2},
        ],
        boosts=[
            table("boosts", item=(boosted := some(0.05)), boost=generator.normal(0, 0.2, len(boosted))),
            by_segment("segments_boosts", 0.02, range(3), boost=0.3),
        ],
        diversity={"share": 0.3},
    )
