"""`kdspark prepare` against DuckDB writing the same tables from the same files, by turns.

The log is generated (scripts/make_logs); DuckDB's side is features.sql. kdspark's time is that of the whole command,
start of Python and Spark included. After each turn the tables of both are compared, too: rows of each, and sums over
what does not depend on how ids are numbered.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from generated import EVENTS, ITEMS, LAST_DAY, USERS, generated_log
from surroundings import machine

from kdspark.errors import ConfigError, StageError

NAME = "features"
_HERE = Path(__file__).parent
_ITEMS = "sum(len(list_filter(history, lambda item: item >= 0)))"
_CODES = "sum(len(list_filter(codes, lambda code: code > 0)))"
_SAME = {
    "quarantine": "count(*)",
    "user_ids": "count(*), count(DISTINCT user_id), max(user_idx)",
    "item_ids": "count(*), count(DISTINCT item_id), max(item_idx)",
    "user_codes": "count(*), max(code)",
    "item_codes": "count(*), max(code)",
    "interactions": "count(*), sum(ts::HUGEINT), sum(weight), count_if(split = 'train'), count_if(split = 'valid')",
    "users_train": f"count(*), sum(n_events), sum(last_ts::HUGEINT), {_ITEMS}, round(avg(numbers[1]), 4)",
    "users_full": f"count(*), sum(n_events), sum(first_ts::HUGEINT), {_ITEMS}, round(avg(recency_days), 3)",
    "items_train": f"count(*), sum(n_events), {_CODES}, round(avg(numbers[3]), 4), round(sum(popularity), 4)",
    "items_full": "count(*), sum(n_events), sum(len(numbers)), sum(last_ts::HUGEINT), round(avg(vector[1]), 5)",
    "examples_train": f"count(*), sum(position), {_ITEMS}",
}


def run(out: Path, repeats: int = 3, users: int = USERS, items: int = ITEMS, events: int = EVENTS) -> dict[str, Any]:
    """Wall seconds of both, and their ratio.

    Args:
        out: the log is kept there, and used again.

    Raises:
        ConfigError: DuckDB is not installed.
        StageError: the tables differ.
    """
    try:
        import duckdb  # noqa: F401
    except ImportError as error:
        raise ConfigError("DuckDB is not installed.", "pip install '.[bench]' -c constraints.txt") from error
    logs = generated_log(out.resolve(), users, items, events)
    turns = []
    for turn in range(repeats):
        root, peer = (out.resolve() / f"{name}-{turn}" for name in ("kdspark", "duckdb"))
        for folder in (root, peer):
            shutil.rmtree(folder, ignore_errors=True)
        turns.append((_kdspark(logs, root), _duckdb(logs, peer)))
        (tables,) = (root / "stages" / "prepare").glob("*/manifest.json")
        check_same(tables.parent, peer)
        for folder in (root, peer):
            shutil.rmtree(folder)
    rows = [
        {"method": name, "events": events, "seconds": median(turn[place] for turn in turns)}
        for place, name in enumerate(("kdspark", "duckdb"))
    ]
    ratio = median(ours / theirs for ours, theirs in turns)
    return {"bench": NAME, "machine": machine(), "rows": rows, "ratios": {"features_wall_vs_duckdb": ratio}}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{row['method']:10} {row['events']:12,} events {row['seconds']:8.1f} s" for row in result["rows"]]
    ratios = [f"{name} {value:.3f}" for name, value in result["ratios"].items()]
    return "\n".join([*lines, *ratios, result["machine"]])


def check_same(ours: Path, peer: Path) -> None:
    """
    Raises:
        StageError: naming the first table that differs.
    """
    import duckdb

    for table, sums in _SAME.items():
        one, other = (
            duckdb.execute(f"SELECT {sums} FROM read_parquet('{path}')").fetchone()  # noqa: S608
            for path in (ours / table / "*.parquet", peer / f"{table}.parquet")
        )
        if one != other:
            raise StageError(f"Table {table} differs: {sums} is {one} of kdspark, {other} of DuckDB.", "Correct one.")


def _kdspark(logs: Path, root: Path) -> float:
    command = [Path(sys.executable).with_name("kdspark"), "prepare", "--config", logs / "config.yaml"]
    started = perf_counter()
    subprocess.run([*command, "--date", LAST_DAY.isoformat(), "--root", root], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def _duckdb(logs: Path, out: Path) -> float:
    import duckdb

    end = dt.datetime.combine(LAST_DAY + dt.timedelta(days=1), dt.time(), dt.timezone.utc)
    places = {"$LOGS": str(logs), "$OUT": str(out), "$END_US": str(int(end.timestamp()) * 1_000_000)}
    statements = (_HERE / "features.sql").read_text(encoding="utf-8")
    for name, value in places.items():
        statements = statements.replace(name, value)
    out.mkdir(parents=True)
    started = perf_counter()
    with duckdb.connect(config={"threads": os.cpu_count() or 1}) as database:
        for statement in statements.split("\n----\n"):
            database.execute(statement)
    return perf_counter() - started
