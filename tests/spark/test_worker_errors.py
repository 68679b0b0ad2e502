"""A KdsparkError raised in a real worker comes out as itself, whatever Spark was doing; a bug keeps its trace.

What killed a worker, or kept memory from it, is one line with a remedy.
"""

import os
import signal
from collections.abc import Callable
from importlib import import_module  # here: every worker that fails is a new one, and imports this module
from pathlib import Path
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession

from kdspark.errors import InputError, ModelError, StageError
from kdspark.spark import worker_errors as module
from kdspark.spark.io import write_table
from kdspark.spark.worker_errors import worker_errors


def failing(spark: SparkSession, error: Callable[[], Exception]) -> DataFrame:
    """Rows that no worker lives to give; the error is raised from another one, as careful code does."""

    def fail(batches: Any) -> Any:
        for _ in batches:
            try:
                open("/nowhere/model.json")  # noqa: PTH123, SIM115
            except OSError as cause:
                raise error() from cause
        yield from ()

    return spark.range(8).mapInArrow(fail, "user_idx INT, item_idx INT, ts BIGINT, weight FLOAT, split STRING")


def damaged() -> Exception:
    return ModelError("models/a: damaged,\nit says: no weights.", "Train it again.")


MESSAGE = "models/a: damaged,\nit says: no weights. Train it again."
ACTIONS = {
    "collect": lambda frame, _: frame.collect(),
    "count": lambda frame, _: frame.count(),
    "pandas": lambda frame, _: frame.toPandas(),
    "write": lambda frame, folder: write_table(frame, "interactions", folder / "out"),
    "write after a shuffle": lambda frame, folder: frame.repartition(3).write.parquet(str(folder / "out")),
    "checkpoint": lambda frame, _: frame.localCheckpoint(),
    "rdd": lambda frame, _: frame.rdd.map(len).collect(),
}


@pytest.mark.filterwarnings("ignore:toPandas attempted Arrow")  # pyspark's, before the error
@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_users_error_keeps_its_class_and_message(spark: SparkSession, tmp_path: Path, action: str) -> None:
    with pytest.raises(ModelError) as raised, worker_errors():
        ACTIONS[action](failing(spark, damaged), tmp_path)
    assert str(raised.value) == MESSAGE
    assert raised.value.exit_code == 7


def test_a_users_error_in_a_plain_rdd_whose_traceback_has_all_causes(spark: SparkSession) -> None:
    def fail(number: int) -> None:
        try:
            divmod(number, 0)
        except ZeroDivisionError as cause:
            raise InputError("log.csv: empty.", "Bring another.") from cause

    with pytest.raises(InputError, match=r"^log\.csv: empty\. Bring another\.$"), worker_errors():
        spark.sparkContext.range(2).map(fail).collect()


def test_a_bug_keeps_its_trace(spark: SparkSession) -> None:
    def bug() -> Exception:
        return ZeroDivisionError("kdspark.errors.ModelError: only words")

    with pytest.raises(PythonException, match="ZeroDivisionError"), worker_errors():
        failing(spark, bug).collect()
    with pytest.raises(Py4JJavaError, match="ZeroDivisionError"), worker_errors():
        spark.sparkContext.range(2).map(lambda number: number / 0).collect()


def test_a_bug_on_the_way_out_of_a_users_error_is_a_bug(spark: SparkSession) -> None:
    def fail(batches: Any) -> Any:
        for _ in batches:
            try:
                raise damaged()
            except ModelError as cause:
                raise KeyError("model") from cause
        yield from ()

    with pytest.raises(PythonException, match="KeyError"), worker_errors():
        spark.range(2).mapInArrow(fail, "id BIGINT").collect()


def test_errors_outside_of_workers_pass(spark: SparkSession) -> None:
    with pytest.raises(Py4JJavaError), worker_errors():
        spark.sparkContext._jvm.java.util.ArrayList().get(1)
    with pytest.raises(KeyError), worker_errors():
        raise KeyError("x")


@pytest.mark.parametrize("action", ["collect", "write", "rdd"])
def test_a_worker_that_is_killed_whenever_it_tries(spark: SparkSession, tmp_path: Path, action: str) -> None:
    def kill() -> Exception:
        os.kill(os.getpid(), signal.SIGKILL)
        return ZeroDivisionError()

    words = r"^Stage score: a Python worker died in every attempt of a task .* spark\.executor\.memoryOverhead"
    with pytest.raises(StageError, match=words), worker_errors("Stage score"):
        ACTIONS[action](failing(spark, kill), tmp_path)


def test_an_application_that_the_cluster_has_ended(spark: SparkSession) -> None:
    words = r"^Stage score: the cluster has ended this application \(Master removed our application\)\. The logs of"
    with pytest.raises(StageError, match=words), worker_errors("Stage score"):
        spark._jvm.scala.sys.package.error("Job aborted due to stage failure: Master removed our application: FAILED")


@pytest.mark.parametrize(
    ("java", "words"),
    [
        (
            "Total size of serialized results of 1 tasks (4.8 MiB) is bigger than spark.driver.maxResultSize (1.0 MiB)",
            r"more than it may take in \(Total size of .* \(1\.0 MiB\)\)\. Raise spark\.driver\.maxResultSize",
        ),
        (
            "Task 0 in stage 3.0 failed 4 times: java.lang.OutOfMemoryError: Java heap space\n\tat Foo.java",
            r"a JVM's heap is full \(Java heap space\)\. Raise spark\.executor\.memory, or in local mode",
        ),
    ],
    ids=["results", "heap"],
)
def test_memory_that_a_jvm_does_not_get(spark: SparkSession, java: str, words: str) -> None:
    with pytest.raises(StageError, match=f"^Stage score: .*{words}") as raised, worker_errors("Stage score"):
        spark._jvm.scala.sys.package.error(f"Job aborted due to stage failure: {java}")
    assert "\n" not in str(raised.value)


TOO_MUCH = 1 << 50  # bytes: more than any address space has
ALLOCATED = {
    "python": bytearray,
    "numpy": lambda size: import_module("numpy").empty(size, "int8"),
    "arrow": lambda size: import_module("pyarrow").allocate_buffer(size),
    "torch": lambda size: import_module("torch").ByteTensor(size),
}


@pytest.mark.parametrize("library", sorted(ALLOCATED))
def test_memory_that_a_worker_does_not_get(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    def allocate() -> Exception:
        ALLOCATED[library](TOO_MUCH)
        return ZeroDivisionError()

    monkeypatch.setattr(module, "_limit", lambda: "600m")
    words = r"^Stage score: a Python worker could not get the memory .* spark\.executor\.pyspark\.memory, which is 600m"
    with pytest.raises(StageError, match=words) as raised, worker_errors("Stage score"):
        failing(spark, allocate).collect()
    assert "\n" not in str(raised.value)
