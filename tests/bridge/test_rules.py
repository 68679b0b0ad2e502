"""Rules from their tables to the lists, by hand: every user ranks items 0, 1, 2, ... in this order."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.bridge.recommending import recommend
from kdspark.bridge.rules import compile_rules
from kdspark.bridge.shipping import ship_ids
from kdspark.config import RulesConfig, ScoringConfig
from kdspark.errors import InputError
from kdspark.models.batch import ItemTable
from kdspark.models.closed_form import Factors
from kdspark.models.storage import save_serving
from kdspark.spark.sources import list_files
from kdspark.spark.user_files import laid_out, write_beside

USERS, ITEMS, KNOWN, K = 5, 12, 10, 4
END = int(dt.datetime(2024, 3, 1, tzinfo=dt.timezone.utc).timestamp()) * 1_000_000
EVENTS = np.array([*range(20, 10, -1), 1, 2])  # items 10 and 11 are not known to the model; user 4 is not, either


class Shop:
    """Users and items, and a folder for tables of rules."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        counts = np.where(np.arange(ITEMS) < KNOWN, EVENTS, 0)
        catalogue = ItemTable.without_features(counts)
        users, items = np.ones((USERS - 1, 1), np.float32), -np.arange(ITEMS, dtype=np.float32)[:, None]
        save_serving(Factors.from_numpy(users, items, catalogue), folder / "bundle")
        spark.createDataFrame([(n, f"u{n}") for n in range(USERS)], "user_idx INT, user_id STRING").write.parquet(
            str(folder / "user_ids")
        )
        spark.createDataFrame([(n, n + 100) for n in range(ITEMS)], "item_idx INT, item_id BIGINT").write.parquet(
            str(folder / "item_ids")
        )

    def table(self, name: str, rows: list[tuple[Any, ...]], *columns: str) -> dict[str, Any]:
        """A CSV file, and the keys of a source that names its columns as its keys."""
        path = self.folder / f"{name}.csv"
        pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)
        return {"paths": str(path), "format": "csv", **{column: column for column in columns}}

    def lists(self, seen: dict[int, list[int]] | None = None, k: int = K, **rules: Any) -> dict[str, list[str]]:
        """User -> items, each with the first letter of its reason but for the model's own."""
        config = RulesConfig(**rules)
        files = {key: list_files(self.spark, source) for key, source in config.tables.items()}
        out = self.folder / f"rules-{len(list(self.folder.iterdir()))}"
        shipped = compile_rules(self.spark, config, files, self.folder, EVENTS, END, out)
        ids = ship_ids(self.spark, self.folder / "item_ids", tables.ITEM_IDX, tables.ITEM_ID, out)
        rows = [(n, f"u{n}", [-1, 0 if n < 4 else -1], [], [], []) for n in range(USERS)]
        schema = "user_idx INT, user_id STRING, history ARRAY<INT>, codes ARRAY<INT>, numbers ARRAY<FLOAT>"
        users = self.spark.createDataFrame(rows, schema + ", vector ARRAY<FLOAT>")
        laid_out(users, USERS).write.parquet(str(out / "users"))
        frames = {"by_user": shipped.by_user}
        if seen is not None:
            frames["seen"] = self.spark.createDataFrame(
                [(user, item) for user, items in seen.items() for item in items], "user_idx INT, seen INT"
            )
        beside = [write_beside(frame, out / "users", out / name) for name, frame in frames.items() if frame]
        config = ScoringConfig(k=k, batch_size=2, memory_mib=16)
        found = recommend(
            self.spark, out / "users", beside, self.folder / "bundle", ids, config, 2, False, shipped.names
        )
        sign = dict(zip(tables.REASONS, ["", "c", "b", "o", "f"], strict=True))
        return {
            row.user_id: [f"{item.item_id - 100}{sign[item.reason]}" for item in row["items"]]
            for row in found.frame().collect()
        }


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    return Shop(spark, tmp_path)


def test_lists_for_everyone_by_segment_and_by_user(shop: Shop) -> None:
    found = shop.lists(
        segments=shop.table("segments", [("u0", "old"), ("u0", "far"), ("u1", "far"), ("u2", "x")], "user", "segment"),
        lists=[
            {"kind": "deny", **shop.table("banned", [(100,), (999,)], "item")},
            {"kind": "deny", **shop.table("far", [("far", 101), ("far", 102)], "segment", "item")},
            {"kind": "allow", **shop.table("old", [("old", n) for n in (102, 103, 104, 110)], "segment", "item")},
            {"kind": "deny", **shop.table("mine", [("u1", 103), ("u3", 999), ("nobody", 104)], "user", "item")},
            {"kind": "allow", **shop.table("own", [("u2", 107), ("u2", 100), ("u3", 999)], "user", "item")},
        ],
    )
    assert found == {
        "u0": ["3", "4", "10f"],  # 102 is denied in one segment, and nothing but the allowed of the other remains
        "u1": ["4", "5", "6", "7"],
        "u2": ["7"],
        "u3": [],  # all that is granted is unknown
        "u4": ["1c", "2c", "3c", "4c"],
    }


def test_a_segment_whose_allow_list_is_unknown_gets_nothing(shop: Shop) -> None:
    segments = shop.table("segments", [("u0", "old")], "user", "segment")
    lists = [{"kind": "allow", **shop.table("old", [("old", 999)], "segment", "item")}]
    found = shop.lists(segments=segments, lists=lists)
    assert (found["u0"], found["u1"]) == ([], ["0", "1", "2", "3"])


def test_windows_cover_the_day_on_which_lists_are_read(shop: Shop) -> None:
    rows = [
        (100, "2024-03-01", None),  # from the moment on
        (101, "2024-03-01 00:00:01", None),  # too late
        (102, None, "2024-03-02"),
        (103, None, "2024-03-01 23:00:00"),  # ends in the day
        (104, "2020-01-01", "2020-02-01"),
        (104, "2024-02-01", "2024-04-01"),  # back again
        (999, None, None),
    ]
    window = shop.table("windows", rows, "item", "start", "end")
    assert shop.lists(availability=window)["u0"] == ["0", "2", "4", "5"]
    assert shop.lists(availability={**window, "hours": 0})["u0"] == ["0", "2", "3", "4"]


def test_caps_give_way_or_leave_lists_short(shop: Shop) -> None:
    groups = [(100 + n, "a" if n < 6 else "b") for n in range(ITEMS)] + [(101, "c"), (102, "c")]
    cap = {**shop.table("groups", groups, "item", "group"), "most": 2}
    assert shop.lists(caps=[cap])["u0"] == ["0", "1", "6", "7"]
    assert shop.lists(k=6, caps=[cap])["u0"] == ["0", "1", "6", "7", "2o", "3o"]
    assert shop.lists(k=6, caps=[{**cap, "when_short": "keep"}])["u0"] == ["0", "1", "6", "7"]
    one = {**cap, "most": 1}
    assert shop.lists(k=3, caps=[one])["u4"] == ["0c", "6c", "1o"]
    # two tables, of which one keeps
    brand = {**shop.table("brands", [(100 + n, "z") for n in range(9)], "item", "group"), "most": 3}
    assert shop.lists(k=5, caps=[cap, {**brand, "when_short": "keep"}])["u0"] == ["0", "1", "6", "9", "11f"]


def test_boosts_are_deviations_of_a_users_scores(shop: Shop) -> None:
    segments = shop.table("segments", [("u1", "kids")], "user", "segment")
    deviation = np.arange(KNOWN).std()
    everyone = shop.table("everyone", [(109, 9.5 / deviation), (100, -1.5 / deviation)], "item", "boost")
    kids = shop.table("kids", [("kids", 105, 5.7 / deviation)], "segment", "item", "boost")
    found = shop.lists(segments=segments, boosts=[everyone, kids])
    assert found["u0"] == ["9b", "1", "0", "2"]
    assert found["u1"] == ["5b", "9b", "1", "0"]


def test_what_the_model_does_not_know_fills_up(shop: Shop) -> None:
    seen = {0: list(range(8))}
    assert shop.lists(seen)["u0"] == ["8", "9", "11f", "10f"]
    order = shop.table("order", [(110, 1), (111, 2), (100, 0)], "item", "order")
    assert shop.lists(seen, backfill=order)["u0"] == ["8", "9", "10f", "11f"]
    assert shop.lists(seen, backfill=shop.table("few", [(110, 1)], "item", "order"))["u0"] == ["8", "9", "10f"]


def test_diversity_chooses_among_the_pool(shop: Shop) -> None:
    found = shop.lists(diversity={"share": 0.9, "pool": 10})
    assert found["u0"][0] == "0"
    assert set(found["u0"]) != {"0", "1", "2", "3"}


@pytest.mark.parametrize(
    ("rows", "columns", "problem"),
    [
        ([("x",)], ["item"], "item id is no bigint"),
        ([(None,), (100,)], ["item"], "1 x null or blank item id"),
        ([(100, None)], ["item", "segment"], "null or blank segment"),
        ([(100, "much")], ["item", "boost"], "boost is no finite number"),
        ([(100, "soon")], ["item", "start"], "start is no timestamp"),
    ],
)
def test_a_row_that_is_not_understood_is_refused(shop: Shop, rows: Any, columns: list[str], problem: str) -> None:
    table = shop.table("bad", [*rows, *([(100, *rows[0][1:])] if len(columns) > 1 else [])], *columns)
    rules: dict[str, Any] = {"lists": [{"kind": "deny", **table}]}
    if "segment" in columns:
        rules["segments"] = shop.table("segments", [("u1", "kids")], "user", "segment")
    if "boost" in columns:
        rules = {"boosts": [table]}
    if "start" in columns:
        rules = {"availability": table}
    with pytest.raises(InputError, match=problem):
        shop.lists(**rules)


def test_rules_that_leave_nothing_are_refused(shop: Shop) -> None:
    with pytest.raises(InputError, match="no item to recommend"):
        shop.lists(lists=[{"kind": "allow", **shop.table("none", [(999,)], "item")}])


def test_a_missing_column_names_its_key(shop: Shop) -> None:
    table = {**shop.table("list", [(100,)], "item"), "item": "sku"}
    with pytest.raises(InputError, match=r"no column 'sku' \(`scoring.rules.lists.0.item`\)"):
        shop.lists(lists=[{"kind": "deny", **table}])
