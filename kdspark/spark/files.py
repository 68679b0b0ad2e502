"""Getting one file to every worker: through Spark's file server, under a name that carries the content's digest."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from kdspark.workspace import link_or_copy, scratch_until_exit, sha256_file

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def ship_file(spark: "SparkSession", path: Path) -> str:
    """Send a file to the executors; workers find it by `SparkFiles.get(name)`.

    Spark serves it from where it lies whenever an executor asks, so it is linked (or copied) to a folder that lives
    as long as this process.

    Returns:
        The name.
    """
    name = f"{sha256_file(path)[:32]}-{path.name}"
    link = _outbox() / name
    if not link.exists():
        link_or_copy(path, link)
    spark.sparkContext.addFile(str(link))
    return name


@functools.cache
def _outbox() -> Path:
    return scratch_until_exit("kdspark-files")
