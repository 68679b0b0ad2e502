"""Getting a model to the workers: as files through Spark, loaded once per worker process, never in a closure."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import SparkFiles, TaskContext

from kdspark.spark.files import ship_file
from kdspark.spark.io import read_table
from kdspark.workspace import scratch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from kdspark.models.serving import Serving

_FILES = ("model.json", "model.safetensors")


@dataclass(frozen=True)
class Shipped:
    """A serving bundle known to every worker by the names of its files, which carry their digests."""

    names: tuple[str, ...]

    def load(self) -> "Serving":
        """The bundle, loaded on the first call in this process; threads set to the task's CPUs."""
        return _load(self.names)


def ship(spark: "SparkSession", folder: Path) -> Shipped:
    """Send a serving bundle's files to all executors; Spark cannot ship local folders to a cluster."""
    return Shipped(tuple(ship_file(spark, folder / name) for name in _FILES))


@dataclass(frozen=True)
class ShippedIds:
    """External ids known to every worker by the name of a file, which carries its digest."""

    name: str
    spark_type: str

    def load(self) -> pa.Array:
        """The ids, each at its index; loaded on the first call in this process."""
        return _load_ids(self.name)


def ship_ids(spark: "SparkSession", vocabulary: Path, idx_name: str, id_name: str, folder: Path) -> ShippedIds:
    """Send a vocabulary's ids to all executors, so that naming what was found needs no join.

    Args:
        vocabulary: folder of table (idx_name, id_name), indices 0, 1, 2, … without gaps.
        folder: where the file is written that is sent.
    """
    spark_type = read_table(spark, vocabulary).schema[id_name].dataType.simpleString()
    path = folder / f"{id_name}s.parquet"
    pq.write_table(pa.table({id_name: ids_in_order(vocabulary, idx_name, id_name)}), path)
    return ShippedIds(ship_file(spark, path), spark_type)


def ids_in_order(vocabulary: Path, idx_name: str, id_name: str) -> pa.ChunkedArray:
    """A vocabulary's ids, each at its index."""
    return pq.read_table(vocabulary, columns=[idx_name, id_name]).sort_by(idx_name).column(id_name)


@functools.lru_cache(maxsize=2)
def _load_ids(name: str) -> pa.Array:
    column = pq.read_table(SparkFiles.get(name)).column(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)


@functools.lru_cache(maxsize=2)
def _load(names: tuple[str, ...]) -> "Serving":
    import torch

    from kdspark.models.storage import load_serving

    context = TaskContext.get()
    torch.set_num_threads(context.cpus() if context else 1)
    with scratch("kdspark-model") as folder:
        for shipped, name in zip(names, _FILES, strict=True):
            (folder / name).symlink_to(SparkFiles.get(shipped))
        return load_serving(folder)
