"""A pass over the interactions table's files, against brute force, however they are cut into batches."""

import itertools

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark import tables
from kdspark.spark import histories
from kdspark.spark.histories import histories_of, read_histories, read_seen
from tests.spark.logs import Written

times = st.one_of(st.none(), st.integers(-5, 5))
users = st.lists(st.lists(st.tuples(times, st.sampled_from(["train", "valid"])), min_size=1, max_size=12), max_size=8)


def log_of(users):
    """The interactions table's rows: users in order, latest events first, those without a time last."""
    rows = [
        (user * 3, item, *event)
        for user, events in enumerate(users)
        for item, event in enumerate(sorted(events, key=lambda event: (event[0] is None, -(event[0] or 0))))
    ]
    columns = [tables.USER_IDX, tables.ITEM_IDX, tables.TS, tables.SPLIT]
    kinds = {tables.USER_IDX: "int32", tables.ITEM_IDX: "int32", tables.TS: "Int64", tables.SPLIT: "object"}
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def expected(log, splits, length):
    found = {}
    for user, events in log[log[tables.SPLIT].isin(splits)].groupby(tables.USER_IDX):
        items = events[tables.ITEM_IDX].tolist()[::-1][-length:]
        known = events[tables.TS].dropna()
        first, last = (None, None) if known.empty else (int(known.min()), int(known.max()))
        found[user] = (len(events), first, last, [tables.PAD] * (length - len(items)) + items)
    return found


@given(users, st.integers(1, 6), st.integers(1, 7), st.sampled_from([["train"], ["valid"], ["train", "valid"]]))
@settings(max_examples=200)
def test_against_brute_force_in_batches_of_any_size(tmp_path_factory, users, length, rows, splits):
    path = tmp_path_factory.mktemp("histories") / "part.parquet"
    log = log_of(users)
    log.to_parquet(path, row_group_size=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories, "_USERS", 3)
        batches = list(histories_of(str(path), splits, length, rows))
    assert all(batch.num_rows <= 3 for batch in batches)
    found = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    assert [row[0] for row in found] == sorted(expected(log, splits, length))
    assert {user: tuple(row) for user, *row in found} == expected(log, splits, length)


def test_whose_events_fill_the_log_costs_no_more_memory(tmp_path, monkeypatch):
    """Of a user who goes on no more than a history is kept from batch to batch."""
    log = pd.DataFrame({tables.USER_IDX: np.int32(7), tables.ITEM_IDX: np.arange(5000, dtype=np.int32)})
    log[tables.TS], log[tables.SPLIT] = np.arange(5000)[::-1], "train"
    log.to_parquet(tmp_path / "part.parquet")
    widest, concatenate = [0], np.concatenate

    def watched(arrays, *axis):
        widest.append(0 if axis else sum(map(len, arrays)))
        return concatenate(arrays, *axis)

    monkeypatch.setattr(np, "concatenate", watched)
    (batch,) = histories_of(str(tmp_path / "part.parquet"), ["train"], 3, rows=100)
    assert batch.to_pylist() == [
        {"user_idx": 7, "n_events": 5000, "first_ts": 0, "last_ts": 4999, "history": [2, 1, 0]}
    ]
    assert max(widest) == 103


def test_they_are_never_broadcast(spark, tmp_path):
    """Spark thinks them as small as the list of files that they are read from."""
    log = Written(spark, tmp_path)
    folder = log.interactions([(0, 1, 2)])
    users = spark.range(3).selectExpr("CAST(id AS INT) AS user_idx")
    found = (read_histories(spark, folder, ["train"], 2).drop("n_events"), read_seen(spark, folder))
    for frame, how in itertools.product(found, ("left", "inner")):
        plan = users.join(frame, tables.USER_IDX, how)._jdf.queryExecution().executedPlan().toString()
        assert "SortMergeJoin" in plan
        assert "Broadcast" not in plan


@pytest.mark.parametrize("files", [1, 4])
def test_every_file_is_read_once(spark, tmp_path, files):
    rows = [(user, item, item // 2) for user in range(30) for item in range(user % 5)]
    written = Written(spark, tmp_path)
    found = {row[tables.USER_IDX]: row[tables.N_EVENTS] for row in written.histories(rows, 3, files).collect()}
    assert found == {user: user % 5 for user in range(30) if user % 5}


def test_what_users_have_seen(spark, tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    log = pd.DataFrame(rng.integers(0, [30, 9, 50], (300, 3)), columns=["u", "i", "t"])
    log["s"] = rng.choice(["train", "valid", "test"], 300)
    frame = spark.createDataFrame(log).selectExpr("int(u) user_idx", "int(i) item_idx", "t ts", "s split")
    folder = Written(spark, tmp_path).interactions(frame)
    monkeypatch.setattr(histories, "_USERS", 4)
    for splits in (("train", "valid"), tables.SPLITS):
        wanted = log[log["s"].isin(splits)].groupby("u")["i"].apply(lambda items: sorted(set(items)))
        assert dict(read_seen(spark, folder, splits).collect()) == wanted.to_dict()
        many = log[log["s"].isin(splits)].groupby("u").filter(lambda events: len(events) > 8)["u"]
        assert dict(read_seen(spark, folder, splits, 8).collect()) == wanted[sorted(set(many))].to_dict()
        assert 0 < many.nunique() < 30
    blocks = [block for path in folder.glob("*.parquet") for block in histories._seen_of(str(path), ["train"], 0)]
    assert max(block.num_rows for block in blocks) == 4


def test_columns_that_nobody_asks_for_are_not_read(spark, tmp_path):
    folder = Written(spark, tmp_path).interactions([(0, 1, 2)], files=1)
    (path,) = folder.glob("*.parquet")
    without = pq.read_table(path).drop_columns([tables.WEIGHT])
    pq.write_table(without, path)
    assert sum(batch.num_rows for batch in histories_of(str(path), ["train"], 2)) == 1
