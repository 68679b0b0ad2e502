"""Shares of missing values against pandas, over more columns than one number has bits for."""

from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kdspark.config import SourceConfig
from kdspark.spark.nulls import Nulls, shares, since, together
from kdspark.spark.quarantine import count_reasons, write_judged


def test_missing_values_are_counted_as_pandas_does(spark: SparkSession, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = 300
    texts = {f"t{n}": rng.choice(["a", "", "  ", None], rows, p=[0.6, 0.1, 0.1, 0.2]) for n in range(61)}
    numbers = {"x": rng.choice([1.5, np.nan], rows), "odd` name": rng.choice(["b", None], rows)}
    table = pd.DataFrame({**texts, **numbers})
    source = tmp_path / "rows.parquet"
    table.to_parquet(source)
    frame = spark.read.parquet(str(source))
    reason = F.when(F.col("t0").isNull(), "no t0")
    judged = write_judged(
        frame, [F.col("x")], reason, SourceConfig(paths=[str(source)]), tmp_path / "raw", watched=list(table.columns)
    )
    by_reason, nulls = count_reasons(judged, list(table.columns))
    blank = table.map(lambda value: value is None or value != value or str(value).strip() == "")
    assert nulls == {"rows": rows, "missing": blank.sum().to_dict()}
    assert by_reason == {"no t0": table["t0"].isna().sum(), None: table["t0"].notna().sum()}
    assert shares({"log": nulls})["log.x"] == blank["x"].mean()


def test_of_no_rows_there_are_no_shares() -> None:
    assert shares({"log": {"rows": 0, "missing": {"u": 0}}}) == {}


def test_what_has_come_since() -> None:
    before, new = (Nulls(rows=rows, missing={"user": user, "item": 0}) for rows, user in ((90, 3), (10, 9)))
    now = together(before, new)
    assert now == {"rows": 100, "missing": {"user": 12, "item": 0}}
    assert since(now, before) == new
    assert since(now, None) == since(now, now) == now
    assert since(before, now) == before  # the log has lost rows
    assert since(now, {"rows": 90, "missing": {"user": 30, "item": 0}}) == now  # and here it has others
    assert since(now, {"rows": 90, "missing": {"user": 3}}) == now
