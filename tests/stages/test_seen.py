"""What filters leave out of the events was seen all the same: table `seen`, which scoring reads."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.bridge.prepared import Prepared
from tests.stages.test_prepare import prepare

pytestmark = pytest.mark.slow
# What each user did, in order of time; a capital is a weight of 5, a small letter one of 1, twice is twice.
LOG = {"ann": "PQRSxxy", "bob": "XPQRs", "cid": "QRSP", "dan": "pqr"}


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Section `data` of LOG, with a row without an item; side tables make all users and x known, whatever happened."""
    rows = [
        (user, item.lower(), place, 5 if item.isupper() else 1)
        for user, items in LOG.items()
        for place, item in enumerate(items, start=1)
    ]
    pd.DataFrame([*rows, ("ann", None, 9, 5)], columns=["u", "i", "t", "w"]).to_csv(tmp_path / "log.csv", index=False)
    pd.DataFrame({"u": list(LOG)}).to_csv(tmp_path / "users.csv", index=False)
    pd.DataFrame({"i": ["x"]}).to_csv(tmp_path / "items.csv", index=False)
    return {
        "interactions": {"paths": str(tmp_path / "log.csv"), "format": "csv"},
        "columns": {"user": "u", "item": "i", "timestamp": "t", "weight": "w"},
        "users": {"paths": str(tmp_path / "users.csv"), "format": "csv", "id": "u"},
        "items": {"paths": str(tmp_path / "items.csv"), "format": "csv", "id": "i"},
    }


def pairs(prepared: Prepared, table: Path) -> dict[str, str]:
    """User -> items, in order of their names; each pair once."""
    users, items = (pd.read_parquet(prepared.folder / name) for name in ("user_ids", "item_ids"))
    rows = pd.read_parquet(table).merge(users).merge(items)
    assert not rows.duplicated(["user_id", "item_id"]).any()
    return rows.sort_values("item_id").groupby("user_id")["item_id"].agg("".join).to_dict()


@pytest.mark.parametrize(
    ("filters", "events", "seen"),
    [
        # y has no event of weight 4 and so no number; dan is known by the user table alone, and has seen p, q and r.
        (
            {"min_weight": 4},
            {"ann": "pqrs", "bob": "pqrx", "cid": "pqrs"},
            {"ann": "pqrsx", "bob": "pqrsx", "cid": "pqrs", "dan": "pqr"},
        ),
        # x and y are too rare: x is known by the item table alone, y has no number.
        (
            {"min_item_events": 3},
            {"ann": "pqrs", "bob": "pqrs", "cid": "pqrs", "dan": "pqr"},
            {"ann": "pqrsx", "bob": "pqrsx", "cid": "pqrs", "dan": "pqr"},
        ),
        (
            {"min_user_events": 4},
            {"ann": "pqrsxy", "bob": "pqrsx", "cid": "pqrs"},
            {"ann": "pqrsxy", "bob": "pqrsx", "cid": "pqrs", "dan": "pqr"},
        ),
    ],
)
def test_pairs_that_a_filter_left_out_were_seen(
    spark: SparkSession, tmp_path: Path, data: dict[str, Any], filters: dict, events: dict, seen: dict
) -> None:
    filters = {**filters, "max_bad_fraction": 0.1}
    runner = prepare(spark, tmp_path / "root", {**data, "filters": filters})
    prepared = Prepared(runner.output("prepare"))
    assert pairs(prepared, prepared.interactions) == events
    assert prepared.seen.name == "seen"
    assert pairs(prepared, prepared.seen) == seen
    assert runner.manifest("prepare").rows["seen"] == sum(map(len, seen.values()))


def test_without_such_a_filter_the_events_are_all_there_is(
    spark: SparkSession, tmp_path: Path, data: dict[str, Any]
) -> None:
    filters = {"repeats": "first", "max_bad_fraction": 0.1}
    prepared = Prepared(prepare(spark, tmp_path / "root", {**data, "filters": filters}).output("prepare"))
    assert prepared.seen == prepared.interactions
    assert not (prepared.folder / "seen").exists()
