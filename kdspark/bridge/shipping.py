"""Getting a model to the workers: as files through Spark, loaded once per worker process, never in a closure."""

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark import SparkFiles, TaskContext

from kdspark.spark.files import ship_file

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


@functools.lru_cache(maxsize=2)
def _load(names: tuple[str, ...]) -> "Serving":
    import torch

    from kdspark.models.storage import load_serving

    context = TaskContext.get()
    torch.set_num_threads(context.cpus() if context else 1)
    with tempfile.TemporaryDirectory(prefix="kdspark-model-") as scratch:
        for shipped, name in zip(names, _FILES, strict=True):
            (Path(scratch) / name).symlink_to(SparkFiles.get(shipped))
        return load_serving(Path(scratch))
