"""Histograms of a night against pandas."""

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from kdspark.spark.drift import histograms, score_histogram


def digits(numbers: pd.Series) -> pd.Series:
    return numbers.map(lambda number: str(int(number).bit_length()))


def test_histograms_are_those_of_pandas(spark: SparkSession) -> None:
    rng = np.random.default_rng(1)
    events = pd.DataFrame(
        {"user_idx": rng.zipf(1.5, 500) % 40, "item_idx": rng.zipf(1.4, 500) % 30, "ts": rng.integers(0, 100, 500)}
    ).astype({"user_idx": "int32", "item_idx": "int32"})
    users, items = (
        events[name].value_counts().reindex(range(50), fill_value=0).rename("n_events").rename_axis(name).reset_index()
        for name in ("user_idx", "item_idx")
    )
    log, user_table, item_table = (spark.createDataFrame(frame) for frame in (events, users, items))
    day = events[events["ts"] >= 60]
    known = users[users["n_events"] > 0]["n_events"]
    of_item = items.set_index("item_idx")["n_events"]
    expected = {
        "user_activity": digits(day.groupby("user_idx").size()).value_counts(),
        "item_popularity": digits(day["item_idx"].map(of_item)).value_counts(),
        "history_length": digits(known.clip(upper=16)).value_counts(),
    }
    found, n_events = histograms(log, user_table, item_table, 60, 16)
    assert n_events == len(day)
    assert found == {name: counts.to_dict() for name, counts in expected.items()}

    found, n_events = histograms(log, user_table, item_table, None, 16)
    assert n_events is None
    assert found["user_activity"] == digits(known).value_counts().to_dict()
    assert found["item_popularity"] == digits(events["item_idx"].map(of_item)).value_counts().to_dict()


def test_a_day_without_events(spark: SparkSession) -> None:
    empty = spark.createDataFrame([], "user_idx INT, item_idx INT, ts BIGINT")
    users = spark.createDataFrame([(0, 0)], "user_idx INT, n_events INT")
    items = spark.createDataFrame([(0, 0)], "item_idx INT, n_events INT")
    spread, n_events = histograms(empty, users, items, 0, 5)
    assert n_events == 0
    assert spread == {"user_activity": {}, "item_popularity": {}, "history_length": {}}


def test_scores_are_binned_by_sign_and_size(spark: SparkSession) -> None:
    by_bin = {0: [0.0, -0.0, 0.0009, -0.0009, 1e-40], 1: [0.001, 0.0019], 11: [1.0, 1.9], 12: [2.0], -10: [-0.5, -0.9]}
    by_bin |= {138: [3e38], -138: [-3e38]}
    lists = [("u", score, "boosted") for scores in by_bin.values() for score in scores] + [("v", 7.0, "cold_start")]
    rows = spark.createDataFrame(lists, "user_id STRING, score FLOAT, reason STRING")
    found = score_histogram(rows)
    assert found == {str(name): len(scores) for name, scores in by_bin.items()}
    assert list(found) == ["-138", "-10", "0", "1", "11", "12", "138"]
    assert score_histogram(rows.filter("user_id = 'v'")) == {}
