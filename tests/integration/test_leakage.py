"""No leakage: a signal that only the future holds gives no model any gain.

In the planted log every user's last event (test) and the one before (valid) are on two items that nearly nobody
touches in train. Any statistic, feature, history or table that saw those events would put them on top of the lists.
Then every user comes back to the items of train, which must not take them from there.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.report.comparison import COMPARISON
from kdspark.workspace import read_json
from tests.integration.nights import DATE, small_config
from tests.integration.test_night import night

pytestmark = pytest.mark.slow
VALID_ITEM, TEST_ITEM = "secret-valid", "secret-test"


def planted_log(path: Path, users: int = 80, items: int = 60, events: int = 14) -> Path:
    generator = np.random.default_rng(5)
    start = int(pd.Timestamp(DATE, tz="UTC").timestamp()) - 10 * 86_400
    rows = []
    for user in range(users):
        chosen = generator.choice(items, events, replace=False)
        rows += [(f"u{user}", f"i{item}", start + place) for place, item in enumerate(chosen)]
        rows += [(f"u{user}", VALID_ITEM, start + events), (f"u{user}", TEST_ITEM, start + events + 1)]
        rows += [(f"u{user}", f"i{item}", start + events + 2 + place) for place, item in enumerate(chosen)]
    # One user meets both items in train, so that they are part of the catalogue.
    rows += [("early", TEST_ITEM, start), ("early", VALID_ITEM, start + 1)]
    rows += [("early", f"i{item}", start + 2 + item) for item in range(5)]
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_csv(path, index=False)
    return path


def test_future_only_signal_gives_no_gain(spark: SparkSession, tmp_path: Path) -> None:
    config = small_config(planted_log(tmp_path / "log.csv"))
    config["data"] = {
        "interactions": {"paths": str(tmp_path / "log.csv"), "format": "csv"},
        "columns": {"user": "user", "item": "item", "timestamp": "time"},
        "features": {"history_length": 50},
        "examples": {"history_length": 20, "max_positions": 10},
    }
    runner = night(spark, tmp_path / "root", config)
    prepared = runner.output("prepare")
    items = {scope: pd.read_parquet(prepared / f"items_{scope}").set_index("item_id") for scope in ("train", "full")}
    assert items["train"].loc[TEST_ITEM, "n_events"] == 1
    assert items["full"].loc[TEST_ITEM, "n_events"] == 81  # scoring does see it
    secret = {int(items["train"].loc[name, "item_idx"]) for name in (TEST_ITEM, VALID_ITEM)}
    users = pd.read_parquet(prepared / "users_train").set_index("user_id").drop("early")
    assert not any(secret & set(history) for history in users["history"])
    assert set(users["n_events"]) == {14}
    examples = pd.read_parquet(prepared / "examples_train")
    early = pd.read_parquet(prepared / "users_train").set_index("user_id").loc["early", "user_idx"]
    others = examples[examples["user_idx"] != early]
    assert not any(
        secret & {*history, *targets} for history, targets in zip(others.history, others.targets, strict=True)
    )

    comparison = read_json(runner.output("evaluate") / COMPARISON)
    for model in comparison["models"]:
        # 10 of about 46 unseen items by chance: a leak would make this 1
        assert model["metrics"]["hit_rate@10"]["value"] < 0.5, model["model"]
