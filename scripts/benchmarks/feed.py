"""Student training fed by Petastorm from Parquet against the same training from tensors in memory.

The rows are soft labels as the stage writes them, of a drawn log and a drawn teacher: what the student learns does not
matter, only what a step costs. Both trainings have the same trainer, losses, batches per epoch and number of threads;
the one in memory takes its batches from tensors by a permutation of all rows per epoch. Students are those that a
configuration gets by default: "mf", which learns once per user, and "gru", at every position. Their logs are as large
that the feed reads them anew in every epoch, but for one of few users and items, whose steps are short, and which it
keeps. Methods take turns, and ratios are medians over turns; `feed_vs_memory`, of throughputs, is the worst of all.

Beside them stands the training of the last student on processes of one thread each, fed as a night's, on one and on two
of them through TorchDistributor: rows per second of an epoch, without the start of the processes.

Legend: R rows, B rows of a batch.
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from positions import Positions, Shape
from processes import timed
from surroundings import machine
from torch import Tensor

from kdspark import tables
from kdspark.bridge.distributed import run_training
from kdspark.bridge.neural import Job, train_process
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import Request
from kdspark.bridge.rows import batches, feed_of, label_columns, user_columns
from kdspark.config import SparkConfig
from kdspark.distill.feed import ParquetFeed
from kdspark.distill.objectives import ExampleObjective
from kdspark.distill.trainer import Trainer
from kdspark.errors import StageError
from kdspark.models.batch import FeatureSizes
from kdspark.models.build import build_model
from kdspark.spark.session import build_session
from kdspark.stages.labels import TABLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAME = "feed"
SHAPES = (
    Shape(200_000, teacher="als", student="mf"),
    Shape(10_000, items=1_700, teacher="als", student="mf", epochs=40),
    Shape(3_400, teacher="als", student="gru"),
)
_PROCESSES = (1, 2)


def run(
    out: Path, shapes: tuple[Shape, ...] = SHAPES, repeats: int = 3, processes: tuple[int, ...] = _PROCESSES
) -> dict[str, Any]:
    """Rows per second of each method and student, and the worst ratio.

    Raises:
        StageError: an epoch from Parquet does not have the rows of one in memory.
    """
    master, settings = f"local[{torch.get_num_threads()},4]", {"spark.driver.memory": "6g"}
    spark = build_session(SparkConfig(master=master, settings=settings), NAME)
    rows: list[dict[str, Any]] = []
    for number, shape in enumerate(shapes):
        folder = out.resolve() / str(number)
        students = _Students(spark, shape, folder)
        students.check()
        turns: dict[str, list[float]] = {"parquet": [], "memory": []}
        for turn in range(repeats + 1):  # the first turn warms up
            for name, feed in (("parquet", students.parquet), ("memory", students.memory)):
                _, spent = timed(students.training(feed))
                turns[name] += [spent] if turn else []
        for name, spent in turns.items():
            ratio = median(memory / this for this, memory in zip(spent, turns["memory"], strict=True))
            rows.append(_row(name, shape, students.rows, shape.epochs * students.rows / median(spent), ratio))
        if shape is shapes[-1]:
            for count in processes:
                speed = students.distributed(spark, count)
                rows.append(_row(f"{count} x 1 thread", shape, students.rows, speed, None))
        shutil.rmtree(folder)
    worst = min(row["vs_memory"] for row in rows if row["method"] == "parquet")
    return {"bench": NAME, "machine": machine(), "rows": rows, "ratios": {"feed_vs_memory": worst}}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{'student':8} {'items':>7} {'method':12} {'rows':>9} {'epochs':>6} {'rows/s':>9}  {'vs memory':>9}"]
    lines += [
        f"{row['student']:8} {row['items']:7,} {row['method']:12} {row['rows']:9,} {row['epochs']:6} "
        f"{row['rows_per_second']:9,.0f}  " + ("" if row["vs_memory"] is None else f"{row['vs_memory']:9.3f}")
        for row in result["rows"]
    ]
    ratios = [f"{name} {value:.3f}" for name, value in result["ratios"].items()]
    return "\n".join([*lines, *ratios, result["machine"]])


def _row(method: str, shape: Shape, rows: int, speed: float, ratio: float | None) -> dict[str, Any]:
    found = {"student": shape.student, "method": method, "rows": rows, "items": shape.items, "epochs": shape.epochs}
    return {**found, "rows_per_second": speed, "vs_memory": ratio}


class _Memory:
    """The rows of a feed as tensors, in an order of each epoch's own."""

    def __init__(self, feed: ParquetFeed) -> None:
        parts = list(feed.epoch(0))
        self.columns = {name: torch.cat([part[name] for part in parts]) for name in feed.columns}
        self.rows, self.steps, self.batch_size = feed.rows, feed.steps, feed.batch_size

    def epoch(self, number: int) -> Iterator[dict[str, Tensor]]:
        order_R = torch.randperm(self.rows, generator=torch.Generator().manual_seed(number))
        for rows_B in order_R.split(self.batch_size):
            yield {name: values[rows_B] for name, values in self.columns.items()}


class _Students:
    """Soft labels, and students that learn from them."""

    def __init__(self, spark: "SparkSession", shape: Shape, folder: Path) -> None:
        self.folder, self.shape = folder, shape
        self.drawn = Positions(spark, shape, folder)
        self.drawn.label()
        config = self.drawn.config
        columns = [*user_columns(FeatureSizes()), tables.TARGETS, *label_columns(config.distill)]
        training = config.student.training.model_copy(update={"epochs": shape.epochs})
        self.student = config.student.model_copy(update={"training": training})
        self.parquet = feed_of([self.drawn.out / TABLE], columns, config.distill, training, config.seed)
        assert isinstance(self.parquet, ParquetFeed)
        self.memory, self.rows = _Memory(self.parquet), self.parquet.rows

    def check(self) -> None:
        """
        Raises:
            StageError: the feed's second epoch does not have the rows of its first, or not each once.
        """
        parts = list(self.parquet.epoch(1))
        for name, values in self.memory.columns.items():
            found = torch.cat([part[name] for part in parts])
            if not torch.equal(_sums(found), _sums(values)):
                raise StageError(f"Column {name} of an epoch from Parquet is not that in memory.", "Correct one.")

    def training(self, feed: Any) -> Any:
        """What trains a fresh student."""
        config, shape, seed = self.drawn.config, self.shape, self.drawn.config.seed
        sizes = FeatureSizes()
        model = build_model(self.student, shape.users, shape.items, self.drawn.catalogue, sizes, seed)
        training = self.student.training
        objective = ExampleObjective(model, config.distill, training, config.soft_labels.top_k, seed=seed)
        trainer = Trainer(objective, lambda epoch: batches(feed, epoch), feed.steps, feed.batch_size, training, seed)
        return trainer.fit

    def distributed(self, spark: "SparkSession", processes: int) -> float:
        """Rows per second of the faster epoch of a training on so many processes, each of one thread."""
        config = self.drawn.config
        training = self.student.training.model_copy(update={"num_processes": processes})
        request = Request(
            Prepared(self.drawn.prepared),
            "train",
            self.folder / f"checkpoints-{processes}",
            config.seed,
            rows=self.drawn.out / TABLE,
            distill=config.distill,
            top_k=config.soft_labels.top_k,
        )
        student = self.student.model_copy(update={"training": training})
        job = asdict(Job.of(student, request, {}, self.folder / f"model-{processes}"))
        with _one_thread():
            found = run_training(spark, train_process, {"job": job}, processes)
        return self.rows / min(epoch["seconds"] for epoch in found["curve"])


def _sums(values: Tensor) -> Tensor:
    """Sums of a column's rows, in order: those of two orders of the same rows are equal."""
    return values.reshape(len(values), -1).double().sum(dim=1).sort().values


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
