"""Getting a model to the workers: as files through Spark, loaded once per worker process, never in a closure."""

import functools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark import SparkFiles, TaskContext

from kdspark.workspace import sha256_file

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from kdspark.models.storage import Serving

_FILES = ("model.json", "model.safetensors")


@dataclass(frozen=True)
class Shipped:
    """A serving bundle known to every worker by the digest of its contents."""

    digest: str

    def load(self) -> "Serving":
        """The bundle, loaded on the first call in this process; threads set to the task's CPUs."""
        return _load(self.digest)


def ship(spark: "SparkSession", folder: Path) -> Shipped:
    """Send a serving bundle's files to all executors under names that carry their digest.

    Spark cannot ship local folders to a cluster, hence single files; and it serves them from where they lie
    whenever an executor asks, hence a folder that lives as long as this process.
    """
    digest = "-".join(sha256_file(folder / name)[:16] for name in _FILES)
    for name in _FILES:
        link = Path(_outbox().name) / f"{digest}-{name}"
        if not link.exists():
            _link_or_copy(folder / name, link)
        spark.sparkContext.addFile(str(link))
    return Shipped(digest)


@functools.cache
def _outbox() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="kdspark-ship-")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


@functools.lru_cache(maxsize=2)
def _load(digest: str) -> "Serving":
    import torch

    from kdspark.models.storage import load_serving

    context = TaskContext.get()
    torch.set_num_threads(context.cpus() if context else 1)
    with tempfile.TemporaryDirectory(prefix="kdspark-model-") as scratch:
        for name in _FILES:
            (Path(scratch) / name).symlink_to(SparkFiles.get(f"{digest}-{name}"))
        return load_serving(Path(scratch))
