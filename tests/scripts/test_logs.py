"""A generated log: the same bytes again, and the traits that make it hard."""

import hashlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from scipy import stats

from kdspark.config import load_config


@pytest.fixture(scope="module")
def logs(distill: ModuleType) -> ModuleType:
    import logs  # found beside `distill`

    return logs


@pytest.fixture(scope="module")
def folder(logs: ModuleType, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from make_logs import generate

    path = tmp_path_factory.mktemp("logs") / "one"
    generate(spark, logs.Shape(users=900, items=400, events=30_000, days=10), path, rows_per_task=9_000)
    return path


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.parquet"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(
    logs: ModuleType, spark: SparkSession, folder: Path, tmp_path: Path
) -> None:
    from make_logs import generate

    for seed in (1, 2):
        shape = logs.Shape(users=900, items=400, events=30_000, days=10, seed=seed)
        generate(spark, shape, tmp_path / str(seed), rows_per_task=9_000)
    first = digests(folder)
    assert digests(tmp_path / "1") == first
    assert not set(digests(tmp_path / "2").values()) & set(first.values())


def test_its_configuration_is_valid(folder: Path) -> None:
    config = load_config(folder / "config.yaml", [])
    assert config.data.items is not None
    assert config.data.items.dense == ["vector"]


def test_events(folder: Path) -> None:
    rows = pd.read_parquet(folder / "interactions")
    assert 30_000 < len(rows) < 30_400  # one of 200 is there twice
    assert rows.duplicated().sum() == pytest.approx(150, abs=50)
    good = rows[
        rows.user_id.notna() & rows.item_id.notna() & rows.ts.between(1_704_067_200, 1_704_067_200 + 864_000 - 1)
    ]
    assert len(rows) - len(good) < 10
    assert (pd.to_datetime(good.ts, unit="s").dt.strftime("%Y-%m-%d") == good.day.astype(str)).all()
    assert good.groupby("day", observed=True).size().between(2_700, 3_300).all()
    known = set(pd.read_parquet(folder / "items").item_id), set(pd.read_parquet(folder / "users").user_id)
    assert set(good.item_id) <= known[0]
    assert set(good.user_id) <= known[1]
    for column, share in (("user_id", 0.35), ("item_id", 0.45)):  # of the most active fifth
        counts = good[column].value_counts().to_numpy()
        assert counts[: len(counts) // 5].sum() > share * len(good)


def test_users_and_items_appear_while_it_goes_on(folder: Path) -> None:
    rows = pd.read_parquet(folder / "interactions").dropna()
    middle = rows.ts.quantile(0.5)
    before, after = rows[rows.ts < middle], rows[rows.ts >= middle]
    for column in ("user_id", "item_id"):
        new = set(after[column]) - set(before[column])
        assert len(new) > 0.1 * rows[column].nunique()
        assert before[column].max() < max(new)  # numbered as they appear


def test_items_of_a_user_tell_of_taste(folder: Path) -> None:
    """Two categories make up far more of a user's events than of all."""
    rows = pd.read_parquet(folder / "interactions").merge(pd.read_parquet(folder / "items"), on="item_id")
    shares = rows.groupby("user_id").category.apply(lambda of: of.value_counts(normalize=True).head(2).sum())
    active = rows.user_id.value_counts()
    overall = rows.category.value_counts(normalize=True).head(2).sum()
    assert shares[active[active >= 40].index].median() > 2 * overall


def test_broken_rows(logs: ModuleType, spark: SparkSession) -> None:
    shape = logs.Shape(users=100, items=100, events=400_000)
    rows = logs.interactions(spark, shape, 2)
    kinds = {
        "user": F.col("user_id").isNull(),
        "item": F.col("item_id").isNull(),
        "past": F.col("ts") < 0,
        "future": F.col("ts") > 4_000_000_000,
        "weight": F.isnan("weight"),
    }
    found = rows.agg(*(F.sum(kind.cast("int")).alias(name) for name, kind in kinds.items())).first()
    assert found is not None
    assert all(0 < found[name] < 20 for name in kinds), found


@pytest.mark.parametrize("exponent", [0.65, 1.0, 1.05])
def test_ranks_follow_zipfs_law(logs: ModuleType, spark: SparkSession, exponent: float) -> None:
    """Against the continuous law that is inverted: P(rank <= r) = H(r + 1) / H(n), H(x) the integral of x^-s from 1."""
    n, drawn = 50, logs._Drawn(logs.Shape(10, 10, 10))
    ranks = spark.range(0, 20_000, 1, 2).select(drawn.zipf(n, exponent, "x", "id").alias("rank")).toPandas()["rank"]
    edges = np.arange(1, n + 2, dtype=float)
    cumulative = np.log(edges) if exponent == 1 else (edges ** (1 - exponent) - 1) / (1 - exponent)
    expected = np.diff(cumulative / cumulative[-1]) * len(ranks)
    assert stats.chisquare(np.bincount(ranks, minlength=n), expected).pvalue > 1e-4
