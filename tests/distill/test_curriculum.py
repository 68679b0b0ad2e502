"""One table per epoch, as the rule says; equal steps for every process."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdspark.distill.curriculum import CurriculumFeed
from kdspark.distill.feed import ParquetFeed
from kdspark.errors import TrainingError


def table(folder: Path, state: int, rows: int = 12, group: int = 4) -> Path:
    folder.mkdir()
    values = {"user_idx": np.arange(rows), "state": np.full(rows, state)}
    pq.write_table(pa.table(values), folder / "0.parquet", row_group_size=group)
    return folder


def feed(folder: Path, rank: int = 0, world: int = 1, batch_size: int = 5) -> ParquetFeed:
    return ParquetFeed(folder, ["user_idx", "state"], batch_size=batch_size, seed=1, rank=rank, world=world)


def test_each_epoch_reads_all_rows_of_its_table(tmp_path: Path) -> None:
    feeds = [feed(table(tmp_path / str(state), state)) for state in range(3)]
    curriculum = CurriculumFeed(feeds, lambda epoch: min(epoch // 2, 2))
    assert (curriculum.rows, curriculum.steps) == (12, 3)
    for epoch, state in enumerate([0, 0, 1, 1, 2, 2, 2]):
        batches = list(curriculum.epoch(epoch))
        assert {int(one) for batch in batches for one in batch["state"]} == {state}
        assert sorted(int(user) for batch in batches for user in batch["user_idx"]) == list(range(12))
        assert [batch["user_idx"].tolist() for batch in batches] == [
            batch["user_idx"].tolist() for batch in feeds[state].epoch(epoch)
        ]


def test_processes_make_equal_steps_whatever_the_row_groups(tmp_path: Path) -> None:
    """Shards of 8 and 4 rows in one table, of 6 and 6 in the other: two steps or one, of six rows."""
    folders = [table(tmp_path / "a", 0, group=4), table(tmp_path / "b", 1, group=2)]
    for rank in range(2):
        curriculum = CurriculumFeed([feed(folder, rank, 2, 6) for folder in folders], lambda epoch: epoch)
        assert [[len(b["state"]) for b in curriculum.epoch(epoch)] for epoch in range(2)] == [[6, 6], [6, 6]]
    assert [feed(folder, 1, 2, 6).steps for folder in folders] == [2, 1]


def test_tables_of_different_rows_are_refused(tmp_path: Path) -> None:
    feeds = [feed(table(tmp_path / "a", 0)), feed(table(tmp_path / "b", 1, rows=11))]
    with pytest.raises(TrainingError, match=r"11 rows, .*a has 12"):
        CurriculumFeed(feeds, lambda epoch: 0)
