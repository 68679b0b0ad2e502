"""The prepare stage's tables on a small log of groups, written without Spark."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdspark.bridge.prepared import Prepared

USERS, ITEMS, GROUPS = 30, 24, 4


def write(path: Path, **columns: object) -> None:
    path.mkdir(parents=True)
    types = {"codes": pa.list_(pa.int32()), "history": pa.list_(pa.int32())}
    types |= {"numbers": pa.list_(pa.float32()), "vector": pa.list_(pa.float32())}
    pq.write_table(pa.table({n: pa.array(v, types.get(n)) for n, v in columns.items()}), path / "0.parquet")


def grouped(folder: Path) -> Prepared:
    """Users with four train items, one valid and one test item of their group of six; they see them in any order."""
    rng = np.random.default_rng(0)
    items = np.stack([rng.permutation(6) * GROUPS + user % GROUPS for user in range(USERS)])
    splits = ["train"] * 4 + ["valid", "test"]
    write(
        folder / "interactions",
        user_idx=np.repeat(np.arange(USERS), 6),
        item_idx=items.ravel(),
        split=splits * USERS,
    )
    for scope, kept in (("train", 4), ("full", 6)):
        events = np.bincount(items[:, :kept].ravel(), minlength=ITEMS)
        nothing = {"numbers": [[]] * ITEMS, "codes": [[]] * ITEMS, "vector": [[]] * ITEMS}
        write(folder / f"items_{scope}", item_idx=np.arange(ITEMS), n_events=events, **nothing)
        nothing = {"numbers": [[]] * USERS, "codes": [[]] * USERS, "vector": [[]] * USERS}
        write(folder / f"users_{scope}", user_idx=np.arange(USERS), history=items[:, :kept].tolist(), **nothing)
    write(folder / "user_ids", user_idx=np.arange(USERS))
    write(folder / "item_ids", item_idx=np.arange(ITEMS))
    (folder / "features.json").write_text(json.dumps({"user_sizes": {}, "examples_kind": "set", "repeats": False}))
    counts = {"train": 4 * USERS, "valid": USERS, "test": USERS}
    (folder / "manifest.json").write_text(json.dumps({"facts": {"splits": counts}}))
    return Prepared(folder)
