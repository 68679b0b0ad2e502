"""run_training with two real processes: results, failures, and a DDP training on uneven shards."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from pyspark.sql import SparkSession
from torch.nn.parallel import DistributedDataParallel

from kdspark import tables
from kdspark.bridge import distributed
from kdspark.bridge.distributed import concurrent_tasks, run_training
from kdspark.distill.feed import ParquetFeed
from kdspark.errors import InputError, TrainingError

SIZES = [40, 10, 30, 5, 20]  # rows per row group: rank 0 gets 90, rank 1 gets 15


def sum_of_ranks(base: float) -> dict[str, Any]:
    """What an all_reduce over base + rank gives."""
    value = torch.tensor([base + dist.get_rank()])
    dist.all_reduce(value)
    return {"sum": value.item(), "world": dist.get_world_size(), "threads": torch.get_num_threads(), "pid": os.getpid()}


def fail_on_one(rank: int, kind: str) -> None:
    """One rank fails, the other waits for it."""
    if dist.get_rank() == rank:
        raise InputError("shard.parquet: no column 'x'.", "Write it.") if kind == "user" else ZeroDivisionError("1/0")
    dist.all_reduce(torch.zeros(1))


def train_tiny(folder: str, out: str) -> dict[str, Any]:
    """Two epochs of DDP on a linear model; every rank writes its weights and steps."""
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    rank = dist.get_rank()
    feed = ParquetFeed(folder, [tables.NUMBERS, tables.LOGITS], 8, 1, sum(SIZES), rank, dist.get_world_size())
    steps = 0
    for epoch in range(2):
        for batch in feed.epoch(epoch):
            loss = (model(batch[tables.NUMBERS]) - batch[tables.LOGITS]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
    weights = [parameter.flatten().tolist() for parameter in model.parameters()]
    Path(out, f"{rank}.json").write_text(json.dumps({"weights": weights, "steps": steps, "rows": feed.shard_rows}))
    return {"steps": steps}


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    running = SparkSession.getActiveSession()
    builder = SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false")
    session = running or builder.config("spark.driver.memory", "1g").getOrCreate()
    yield session
    if running is None:
        session.stop()


def test_one_process_runs_here(spark: SparkSession) -> None:
    assert run_training(spark, os.getpid, {}, 1) == os.getpid()
    with pytest.raises(ZeroDivisionError):  # a bug keeps its own trace
        run_training(spark, divmod_by_zero, {}, 1)


def divmod_by_zero() -> None:
    """Fails."""
    divmod(1, 0)


def test_two_processes_reduce(spark: SparkSession) -> None:
    result = run_training(spark, sum_of_ranks, {"base": 10.0}, 2)
    assert result.pop("pid") != os.getpid()
    assert result == {"sum": 21.0, "world": 2, "threads": int(spark.conf.get("spark.task.cpus", "1"))}
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("rank", "kind", "message"),
    [(1, "user", r"Rank 1 of 2: shard\.parquet: no column 'x'\. Write it\."), (0, "bug", "Rank 0 of 2: ZeroDivision")],
)
def test_the_first_failure_is_the_message(spark: SparkSession, rank: int, kind: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        run_training(spark, fail_on_one, {"rank": rank, "kind": kind}, 2)


def test_training_on_uneven_shards(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    inputs = np.random.default_rng(0).normal(size=(sum(SIZES), 2)).astype(np.float32)
    targets = inputs @ np.array([[2.0], [-1.0]], np.float32) + 0.5
    table = pa.table({tables.NUMBERS: pa.array(list(inputs)), tables.LOGITS: pa.array(list(targets))})
    with pq.ParquetWriter(folder / "part.parquet", table.schema) as writer:
        for start, rows in zip(np.cumsum([0, *SIZES]), SIZES, strict=False):
            writer.write_table(table.slice(start, rows))
    steps = 2 * -(-90 // 8)
    assert run_training(spark, train_tiny, {"folder": str(folder), "out": str(tmp_path)}, 2) == {"steps": steps}
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [rank["rows"] for rank in ranks] == [90, 15]
    assert [rank["steps"] for rank in ranks] == [steps, steps]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert np.allclose(np.concatenate(ranks[0]["weights"]), [2.0, -1.0, 0.5], atol=0.3)  # it has learned


def test_functions_and_arguments_that_cannot_travel(spark: SparkSession) -> None:
    def inner() -> None: ...

    with pytest.raises(ValueError, match="no function that other processes can import"):
        run_training(spark, inner, {}, 2)
    with pytest.raises(TypeError, match="not JSON serializable"):
        run_training(spark, sum_of_ranks, {"base": object()}, 2)


def test_a_cluster_with_too_few_slots(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    assert concurrent_tasks(spark) >= 1  # Spark's own count is reachable
    monkeypatch.setattr(distributed, "concurrent_tasks", lambda session: 2)
    distributed._check_cluster(spark, 2, wait_s=0)
    with pytest.raises(TrainingError, match="num_processes is 3, but this cluster runs 2 tasks at a time"):
        distributed._check_cluster(spark, 3, wait_s=0)
