"""Tables as trainers read them, and the validation metric against a brute-force one."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.validation import validator
from kdspark.config import TrainingConfig
from kdspark.errors import StageError, TrainingError
from kdspark.models.batch import ItemTable
from kdspark.models.closed_form import Factors

N_USERS, N_ITEMS = 9, 12
GENERATOR = np.random.default_rng(2)


def write(path: Path, **columns: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    types = {"history": pa.list_(pa.int32()), "codes": pa.list_(pa.int32())}
    types |= {"numbers": pa.list_(pa.float32()), "vector": pa.list_(pa.float32())}
    arrays = {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Users 0..8 in two files, each with three train items and, but for user 0, one valid item."""
    for part, users in enumerate((range(5), range(5, N_USERS))):
        rows = []
        for user in users:
            items = np.random.default_rng(user).permutation(N_ITEMS)[:4]
            rows += [(user, int(item), "train") for item in items[:3]]
            rows += [(user, int(items[3]), "valid")] if user else []
        user_idx, item_idx, split = zip(*rows, strict=True)
        write(tmp_path / "interactions" / f"{part}.parquet", user_idx=user_idx, item_idx=item_idx, split=split)
    empty = [[] for _ in range(N_USERS)]
    order = [3, 1, 0, 2, 8, 7, 6, 5, 4]
    write(
        tmp_path / "users_train" / "0.parquet",
        user_idx=order,
        history=[[-1, user] for user in order],
        codes=empty,
        numbers=empty,
        vector=empty,
    )
    (tmp_path / "features.json").write_text(json.dumps({"user_sizes": {}, "examples_kind": "set", "repeats": False}))
    return Prepared(tmp_path)


def test_reads_whole_users_by_block(prepared: Prepared) -> None:
    blocks = list(prepared.event_blocks(["train"]))
    assert [len(users) for users, _ in blocks] == [15, 12]
    assert not set(blocks[0][0]) & set(blocks[1][0])
    users, items = prepared.events_of(np.array([0, 7]), ["train", "valid"])
    assert sorted(users.tolist()) == [0, 0, 0, 7, 7, 7, 7]
    assert len(items) == 7


def test_user_rows_come_in_order(prepared: Prepared) -> None:
    batch = prepared.user_rows(np.array([2, 8, 4]), "train")
    assert batch.user_idx.tolist() == [2, 4, 8]
    assert batch.history.tolist() == [[-1, 2], [-1, 4], [-1, 8]]


def test_validation_is_ndcg_over_the_catalogue_without_train_items(prepared: Prepared) -> None:
    users, items = GENERATOR.normal(size=(N_USERS, 3)), GENERATOR.normal(size=(N_ITEMS, 3))
    model = Factors.from_numpy(users, items, ItemTable.without_features(np.ones(N_ITEMS, int)))
    expected = []
    for user in range(1, N_USERS):
        own = np.random.default_rng(user).permutation(N_ITEMS)[:4]
        scores = users[user] @ items.T
        scores[own[:3]] = -np.inf
        rank = int((scores > scores[own[3]]).sum())
        expected.append(1 / np.log2(rank + 2) if rank < 5 else 0.0)
    found = validator(prepared, TrainingConfig(valid_k=5), seed=1)(model)
    assert found == pytest.approx(np.mean(expected))


def test_validation_samples_users_by_hash(prepared: Prepared) -> None:
    users, items = GENERATOR.normal(size=(N_USERS, 3)), GENERATOR.normal(size=(N_ITEMS, 3))
    model = Factors.from_numpy(users, items, ItemTable.without_features(np.ones(N_ITEMS, int)))
    config = TrainingConfig(valid_users=3, valid_k=12)
    values = [validator(prepared, config, seed)(model) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_no_validation_events(prepared: Prepared) -> None:
    for path in prepared.interactions.glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.filter(pa.compute.equal(table["split"], "train")), path)
    with pytest.raises(TrainingError, match="validation"):
        validator(prepared, TrainingConfig(), 0)


def test_item_table_must_be_whole(tmp_path: Path) -> None:
    columns = {"n_events": [1, 2, 3], "codes": [[1], [2], [3]], "numbers": [[0.5]] * 3, "vector": [[], [], []]}
    write(tmp_path / "good" / "0.parquet", item_idx=[2, 0, 1], **columns)
    items = load_items(tmp_path / "good")
    assert items.n_events.tolist() == [2, 3, 1]
    assert items.codes.tolist() == [[2], [3], [1]]
    assert torch.equal(items.numbers, torch.full((3, 1), 0.5))
    write(tmp_path / "gap" / "0.parquet", item_idx=[0, 1, 3], **columns)
    with pytest.raises(StageError, match="gaps or duplicates"):
        load_items(tmp_path / "gap")
