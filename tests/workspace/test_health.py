"""The health table: a row per run, replaced by the run's next, read in order, whatever else lies there."""

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from kdspark.workspace.health import SCHEMA, has_row, read_rows, write_row


def row(day: int, run: str = "r1", **more: Any) -> dict[str, Any]:
    recorded = dt.datetime(2024, 1, day, 3, tzinfo=dt.timezone.utc)
    date = dt.date(2024, 1, day)
    return {"date": date, "run": run, "recorded": recorded, "published": True, "outcome": "published", **more}


def test_rows_come_back_in_order_and_a_run_has_one(tmp_path: Path) -> None:
    write_row(tmp_path, row(2, student_metric=0.25, null_rates={"items.brand": 0.5}, psi={"user_activity": 0.01}))
    write_row(tmp_path, row(1, outcome="failed", published=False))
    assert has_row(tmp_path, dt.date(2024, 1, 1), "r1")
    assert not has_row(tmp_path, dt.date(2024, 1, 1), "r2")
    write_row(tmp_path, row(1, users=7))
    first, second = read_rows(tmp_path, 9)
    assert (first["outcome"], first["users"], first["null_rates"]) == ("published", 7, {})
    assert second["student_metric"] == 0.25
    assert second["null_rates"] == {"items.brand": 0.5}
    assert second["psi"] == {"user_activity": 0.01}
    assert read_rows(tmp_path, 1) == [second]


def test_any_reader_of_parquet_reads_all_of_it(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        write_row(tmp_path, row(day, users=day))
    table = pq.read_table(tmp_path / "health").sort_by("date")
    assert table["users"].to_pylist() == [1, 2, 3]
    assert table.column_names == SCHEMA.names


def test_damaged_files_are_left_out_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_rows(tmp_path, 9) == []
    write_row(tmp_path, row(2))
    path = write_row(tmp_path, row(1))
    path.write_bytes(path.read_bytes()[:-9])
    pd.DataFrame({"users": [1]}).to_parquet(tmp_path / "health" / "other.parquet")
    with caplog.at_level("WARNING", "kdspark"):
        assert [found["date"].day for found in read_rows(tmp_path, 9)] == [2]
    assert "2024-01-01-r1.parquet" in caplog.text
