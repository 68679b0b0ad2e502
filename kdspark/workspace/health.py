"""The health of nights as a table: a row per run below ROOT/health, one small Parquet file each, never removed.

`spark.read.parquet(ROOT/health)` reads all of it.
"""

import datetime as dt
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdspark.workspace.files import write_bytes

log = logging.getLogger("kdspark")

FOLDER = "health"
PUBLISHED, BLOCKED, KEPT, FAILED = "published", "blocked", "kept", "failed"
"""How a run ended; kept: it had nothing to publish, and what was published stays."""
_NUMBERS = pa.map_(pa.string(), pa.float64())
SCHEMA = pa.schema(
    [
        ("date", pa.date32()),
        ("run", pa.string()),
        ("evaluated_run", pa.string()),  # the folder below ROOT/runs/<date>
        ("recorded", pa.timestamp("us", "UTC")),
        ("published", pa.bool_()),
        ("outcome", pa.string()),
        ("reason", pa.string()),  # what blocked or failed, or what was overruled
        ("seconds", pa.float64()),  # of the stages that finished, reused ones included
        ("metric_name", pa.string()),
        *((f"{model}_metric", pa.float64()) for model in ("student", "plain", "teacher", "popularity")),
        ("coverage", pa.float64()),
        *((name, pa.int64()) for name in ("rows", "users", "items", "day_events", "log_events")),
        *((name, pa.int64()) for name in ("known_users", "known_items")),
        *((name, pa.float64()) for name in ("new_users", "new_items", "user_share", "cold_share", "flat_share")),
        ("overlap", pa.float64()),
        ("null_rates", _NUMBERS),
        ("psi", _NUMBERS),
    ]
)
Row = dict[str, Any]


def write_row(root: Path, row: Mapping[str, Any]) -> Path:
    """Write a run's row, in place of the one that it had.

    Args:
        row: by the names of `SCHEMA`; what is not there is null.
    """
    values = {name: row.get(name) for name in SCHEMA.names}
    values |= {name: list((values[name] or {}).items()) for name in ("null_rates", "psi")}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([values], SCHEMA), sink)
    path = _path(root, row["date"], row["run"])
    write_bytes(path, sink.getvalue().to_pybytes())
    return path


def has_row(root: Path, date: dt.date, run: str) -> bool:
    """Whether a run has a row."""
    return _path(root, date, run).exists()


def read_rows(root: Path, most: int) -> list[Row]:
    """The rows that lie latest by date and time, in order; files that are damaged are left out, loudly.

    Args:
        most: rows to read.
    """
    rows = []
    for path in sorted((root / FOLDER).glob("*.parquet"))[-most:]:
        try:
            found = pq.read_table(path, schema=SCHEMA).to_pylist()
        except (OSError, ValueError, pa.ArrowException) as error:
            log.warning("ignored: %s: %s", path, str(error).partition("\n")[0])
            continue
        found = [row for row in found if row["date"] and row["recorded"]]
        rows += [{**row, **{name: dict(row[name] or ()) for name in ("null_rates", "psi")}} for row in found]
    return sorted(rows, key=lambda row: (row["date"], row["recorded"], row["run"]))


def _path(root: Path, date: dt.date, run: str) -> Path:
    return root / FOLDER / f"{date.isoformat()}-{run}.parquet"
