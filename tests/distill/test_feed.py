"""ParquetFeed against the tables it reads: exactly their rows, in an order that only (seed, epoch, rank) decide."""

import itertools
import pickle
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from petastorm.workers_pool.ventilator import ConcurrentVentilator

from kdspark import tables
from kdspark.distill import petastorm_reader
from kdspark.distill.feed import ParquetFeed
from kdspark.errors import InputError, StalledError, TrainingError

COLUMNS = [tables.USER_IDX, tables.HISTORY, tables.LOGITS, tables.NUMBERS]


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    rows, length = values.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * length)
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel(), kind))


def _table(rows: int) -> pa.Table:
    idx = np.arange(rows, dtype=np.int32)
    return pa.table(
        {
            tables.USER_IDX: pa.array(idx),
            tables.HISTORY: _lists(idx[:, None] + np.arange(3, dtype=np.int32), pa.int32()),
            tables.LOGITS: _lists((idx[:, None] / np.array([2.0, 4.0])).astype(np.float32), pa.float32()),
            tables.NUMBERS: _lists(np.zeros((rows, 0), np.float32), pa.float32()),
            tables.TEACHER_ID: pa.array(["t"] * rows),
        }
    )


def _write(folder: Path, groups: list[list[int]]) -> Path:
    """One file per inner list, one row group per number."""
    folder.mkdir(parents=True)
    table, start = _table(sum(map(sum, groups))), 0
    for i, file in enumerate(groups):
        with pq.ParquetWriter(folder / f"part-{i:05}.parquet", table.schema) as writer:
            for rows in file:
                writer.write_table(table.slice(start, rows))
                start += rows
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000.parquet.crc").touch()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _write(tmp_path / "soft labels é#1?", [[7, 5, 9], [], [11, 3]])


def _users(feed: ParquetFeed, epoch: int = 0) -> list[int]:
    return torch.cat([batch[tables.USER_IDX] for batch in feed.epoch(epoch)]).tolist()


def test_every_row_once_with_its_own_values(folder: Path) -> None:
    feed = ParquetFeed(folder, COLUMNS, batch_size=8, seed=1, expected_rows=35)
    batches = list(feed.epoch(0))
    assert [len(batch[tables.USER_IDX]) for batch in batches] == [8, 8, 8, 8, 3]
    assert len(batches) == feed.steps
    whole = {name: torch.cat([batch[name] for batch in batches]) for name in COLUMNS}
    users = whole[tables.USER_IDX]
    assert sorted(users.tolist()) == list(range(35))
    assert torch.equal(whole[tables.HISTORY], users[:, None] + torch.arange(3))
    assert torch.equal(whole[tables.LOGITS], users[:, None] / torch.tensor([2.0, 4.0]))
    assert [whole[name].dtype for name in COLUMNS] == [torch.int64, torch.int64, torch.float32, torch.float32]
    assert whole[tables.NUMBERS].shape == (35, 0)
    assert list(batches[0]) == COLUMNS


def test_order_depends_on_seed_and_epoch_alone(folder: Path) -> None:
    first = ParquetFeed(folder, COLUMNS, 8, seed=1)
    order = _users(first, 3)
    state = torch.get_rng_state()
    _users(first, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    again = ParquetFeed(folder, [tables.USER_IDX], 8, seed=1)
    assert _users(again, 3) == order
    assert _users(first, 4) != order
    assert _users(ParquetFeed(folder, COLUMNS, 8, seed=2), 3) != order


def test_a_shard_that_fits_is_read_once_and_ordered_as_if_it_were_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    process = petastorm_reader._ColumnWorker.process

    def counted(self: object, piece_index: int, *args: object, **kwargs: object) -> None:
        read.append(piece_index)
        process(self, piece_index, *args, **kwargs)

    monkeypatch.setattr(petastorm_reader._ColumnWorker, "process", counted)
    feed = ParquetFeed(folder, COLUMNS, 8, seed=1, buffer_rows=18)
    orders = [_users(feed, epoch) for epoch in range(3)]
    assert [sorted(order) for order in orders] == [list(range(35))] * 3
    assert sorted(read) == list(range(5))
    assert orders[0] != orders[1]
    assert _users(ParquetFeed(folder, [tables.USER_IDX], 8, seed=1, buffer_rows=18), 2) == orders[2]
    streamed = ParquetFeed(folder, COLUMNS, 8, seed=1, buffer_rows=17)
    assert [sorted(_users(streamed, epoch)) for epoch in range(2)] == [list(range(35))] * 2
    assert sorted(read) == sorted([*range(5)] * 4)


def test_slow_consumers_and_slow_storage_do_not_change_the_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = ParquetFeed(folder, [tables.USER_IDX], 8, seed=1, buffer_rows=10)
    order = _users(feed)
    slow: list[int] = []
    for batch in feed.epoch(0):
        time.sleep(0.02)
        slow += batch[tables.USER_IDX].tolist()
    assert slow == order
    process = petastorm_reader._ColumnWorker.process

    def delayed(self: object, *args: object, **kwargs: object) -> None:
        time.sleep(0.03)
        process(self, *args, **kwargs)

    monkeypatch.setattr(petastorm_reader._ColumnWorker, "process", delayed)
    assert _users(feed) == order


def test_without_shuffling_the_order_of_the_files(folder: Path) -> None:
    assert _users(ParquetFeed(folder, COLUMNS, 8, seed=1, shuffle=False)) == list(range(35))


def test_a_full_buffer_mixes_across_row_groups(tmp_path: Path) -> None:
    folder = _write(tmp_path / "t", [[50] * 20])
    order = np.array(_users(ParquetFeed(folder, [tables.USER_IDX], 100, seed=0, buffer_rows=10_000)))
    assert sorted(order) == list(range(1000))
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.15  # sd 0.03 under a uniform permutation
    assert len(set(order[:100] // 50)) > 15  # of 20 groups; 100 draws miss each with probability 0.006


@pytest.mark.parametrize("world", [2, 3])
def test_shards_are_disjoint_and_every_rank_makes_equal_steps(folder: Path, world: int) -> None:
    feeds = [ParquetFeed(folder, COLUMNS, 4, 1, 35, rank, world) for rank in range(world)]
    sizes = [7, 5, 9, 11, 3]
    groups = np.split(np.arange(35), np.cumsum(sizes)[:-1])
    expected = [np.concatenate(groups[rank::world]).tolist() for rank in range(world)]
    assert [feed.shard_rows for feed in feeds] == [len(rows) for rows in expected]
    steps = -(-max(map(len, expected)) // 4)
    for feed, rows in zip(feeds, expected, strict=True):
        batches = [batch[tables.USER_IDX].tolist() for batch in feed.epoch(0)]
        assert [len(batch) for batch in batches] == [4] * steps
        assert feed.steps == steps
        seen = list(itertools.chain(*batches))
        counts = Counter(seen)
        assert set(counts) == set(rows)
        assert sorted(seen[: len(rows)]) == rows  # no repeat before every row was seen
        assert max(counts.values()) - min(counts.values()) <= 1


def test_more_processes_than_row_groups(folder: Path) -> None:
    with pytest.raises(InputError, match="too few row groups to give each of 6"):
        ParquetFeed(folder, COLUMNS, 4, 1, rank=0, world=6)


@pytest.mark.parametrize("expected", [34, 36])
def test_a_table_that_does_not_fit_its_manifest(folder: Path, expected: int) -> None:
    with pytest.raises(TrainingError, match=f"35 rows by its Parquet footers, {expected} by its manifest"):
        ParquetFeed(folder, COLUMNS, 4, 1, expected_rows=expected)


def test_the_pools_race_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between "nothing in flight" and "ventilator done?" the ventilator hands out all it has, and is done."""
    folder = _write(tmp_path / "t", [[4, 4, 4]])
    completed = ConcurrentVentilator.completed

    asked = threading.Event()

    def late(self: ConcurrentVentilator) -> bool:
        if threading.current_thread().name != "kdspark-prefetch":
            asked.wait(5)  # the ventilator hands out nothing before the reader has seen that nothing is in flight
            return completed(self)
        asked.set()
        until = time.monotonic() + 5
        while not completed(self) and time.monotonic() < until:
            time.sleep(0.001)
        return completed(self)

    monkeypatch.setattr(ConcurrentVentilator, "completed", late)
    assert sorted(_users(ParquetFeed(folder, [tables.USER_IDX], 4, seed=0))) == list(range(12))


def test_lost_rows_are_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = petastorm_reader._ColumnWorker.process

    def lossy(self: object, piece_index: int, *args: object, **kwargs: object) -> None:
        if piece_index != 2:
            process(self, piece_index, *args, **kwargs)

    monkeypatch.setattr(petastorm_reader._ColumnWorker, "process", lossy)
    with pytest.raises(TrainingError, match="26 rows arrived of 35"):
        _users(ParquetFeed(folder, COLUMNS, 8, seed=1))


def test_hanging_storage_ends_in_an_error_with_stacks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    monkeypatch.setattr(petastorm_reader._ColumnWorker, "process", lambda self, *args, **kwargs: release.wait(30))
    feed = ParquetFeed(folder, COLUMNS, 8, seed=1, timeout_s=0.3)
    started = time.monotonic()
    with pytest.raises(StalledError, match=r"no data within 0\.3 s"):
        next(feed.epoch(0))
    assert time.monotonic() - started < 5
    assert "thread_pool.py" in caplog.text
    release.set()


def test_a_worker_that_fails_is_an_error(folder: Path) -> None:
    feed = ParquetFeed(folder, COLUMNS, 8, seed=1)
    (folder / "part-00003.parquet").unlink(missing_ok=True)
    (folder / "part-00002.parquet").unlink()
    with pytest.raises((TrainingError, InputError), match="soft labels"):
        _users(feed)


def test_leaving_early_stops_all_threads(folder: Path) -> None:
    before = set(threading.enumerate())
    batches = ParquetFeed(folder, COLUMNS, 2, seed=1, buffer_rows=1).epoch(0)
    next(batches)
    batches.close()  # type: ignore[attr-defined]

    def failing_step() -> None:
        for _ in ParquetFeed(folder, COLUMNS, 2, seed=1).epoch(0):
            raise RuntimeError("a training step")

    with pytest.raises(RuntimeError, match="a training step"):
        failing_step()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("name", ["_common_metadata", "_metadata", "x=1/_common_metadata", "part_metadata"])
def test_petastorm_metadata_is_refused_unopened(folder: Path, name: str) -> None:
    schema = _table(0).schema.with_metadata({b"dataset-toolkit.unischema.v1": pickle.dumps(_Bomb())})
    (folder / name).parent.mkdir(exist_ok=True)
    pq.write_metadata(schema, folder / name)
    with pytest.raises(InputError, match=f"holds {Path(name).name}"):
        ParquetFeed(folder, COLUMNS, 8, seed=1)


def test_missing_column_folder_and_unfit_type(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"part-00000\.parquet: column 'vector' is missing"):
        ParquetFeed(folder, [tables.VECTOR], 8, seed=1)
    with pytest.raises(InputError, match="'teacher_id' is string"):
        ParquetFeed(folder, [tables.TEACHER_ID], 8, seed=1)
    with pytest.raises(InputError, match="no such folder"):
        ParquetFeed(tmp_path / "nowhere", COLUMNS, 8, seed=1)
    with pytest.raises(InputError, match="no rows"):
        ParquetFeed(_write(tmp_path / "empty", [[]]), COLUMNS, 8, seed=1)
    (folder / "part-00009.parquet").write_text("not parquet")
    with pytest.raises(InputError, match=r"part-00009\.parquet: not a readable Parquet file"):
        ParquetFeed(folder, COLUMNS, 8, seed=1)


@pytest.mark.parametrize(
    "cells", [[[1, 2], [3]], [[1, 2], None], [[1, None], [2, 3]]], ids=["ragged", "null list", "null entry"]
)
def test_lists_without_a_fixed_shape(tmp_path: Path, cells: list[list[int] | None]) -> None:
    pq.write_table(pa.table({tables.HISTORY: pa.array(cells, pa.list_(pa.int32()))}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="'history' holds nulls or lists of different lengths"):
        list(ParquetFeed(tmp_path, [tables.HISTORY], 2, seed=1).epoch(0))


def test_lengths_that_differ_between_row_groups(tmp_path: Path) -> None:
    for length in (2, 3):
        table = pa.table({tables.HISTORY: _lists(np.ones((4, length), np.int32), pa.int32())})
        pq.write_table(table, tmp_path / f"{length}.parquet")
    with pytest.raises(InputError, match="lists of different lengths"):
        list(ParquetFeed(tmp_path, [tables.HISTORY], 2, seed=1).epoch(0))


def test_warnings_are_silenced_here_and_only_here(folder: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        _users(ParquetFeed(f"file://{folder}", COLUMNS, 8, seed=1))
        assert warnings.filters == filters
    assert [str(one.message) for one in caught if one.category is not ResourceWarning] == []
