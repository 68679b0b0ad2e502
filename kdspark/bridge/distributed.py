"""Running a training function in this process, or as one rank per process through Spark's TorchDistributor.

With a local master the ranks are processes on this machine; on a cluster they are the tasks of one barrier stage, on
executors. A rank learns what to do from JSON (an import path and arguments), so nothing that cannot be pickled is
captured; what is large, such as a model's weights, rank 0 writes to a folder that all nodes share.
"""

import contextlib
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdspark import watchdog
from kdspark.errors import KdsparkError, TrainingError
from kdspark.workspace import read_json, scratch, write_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_GROUP_TIMEOUT = timedelta(minutes=30)  # the longest a rank may wait for another one, for example while it validates


def run_training(
    spark: "SparkSession",
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    num_processes: int = 1,
    use_gpu: bool | None = None,
    wait_s: float = 60.0,
    shared: Path | None = None,
) -> Any:
    """Call `function(**arguments)`, in several processes if asked to, and return what rank 0 returns.

    Args:
        spark: the active session; `spark.task.cpus` is the number of torch threads per rank.
        function: a module-level function; its result is JSON-able. In several processes it finds an initialised
            process group (nccl with GPUs, else gloo) and must make equal steps on every rank.
        arguments: JSON-able keyword arguments; every folder among them is seen by all nodes.
        num_processes: 1 calls the function here; more need as many free slots at the same time.
        use_gpu: one GPU per rank, as Spark assigns them; None: if Spark knows of GPUs.
        wait_s: how long to wait for executors that are still starting.
        shared: folder that all nodes see, where failing ranks leave their reason (TorchDistributor itself only says
            that something failed). Not needed with a local master; without it a cluster's reason is in the log alone.

    Raises:
        TrainingError: too few slots, dynamic allocation, or a rank failed; names the reason of the first to fail.
        ValueError: the function cannot be imported by its name, or the arguments are not JSON-able.
    """
    payload = json.dumps(dict(arguments))
    if num_processes == 1:
        return function(**arguments)
    path = _import_path(function)
    local = str(spark.conf.get("spark.master", "")).startswith("local")
    gpu = _spark_has_gpus(spark, local) if use_gpu is None else use_gpu
    if not local:
        _check_cluster(spark, num_processes, wait_s)
    from pyspark.ml.torch.distributor import TorchDistributor

    threads = int(spark.conf.get("spark.task.cpus", "1") or 1)
    with contextlib.ExitStack() as stack:
        failures: Path | None = None
        if local or shared is not None:
            failures = stack.enter_context(scratch(".ranks", shared))
        if local:
            stack.enter_context(_importable_by_children())
        try:
            distributor = TorchDistributor(num_processes=num_processes, local_mode=local, use_gpu=gpu)
            answer = distributor.run(run_rank, path, payload, threads, gpu, str(failures) if failures else None)
        except Exception as error:  # RuntimeError from local ranks, any of pyspark's from a cluster
            raise _first_failure(failures, error, num_processes) from error
    return json.loads(str(answer))


def run_rank(path: str, payload: str, threads: int, use_gpu: bool, failures: str | None) -> str:
    """What every rank runs: join the group, call the function, answer in JSON; or leave the reason of a failure."""
    import torch
    import torch.distributed as dist

    watchdog.arm()
    try:
        torch.set_num_threads(threads)
        if use_gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if use_gpu else "gloo", timeout=_GROUP_TIMEOUT)
        module, _, name = path.partition(":")
        result = json.dumps(getattr(importlib.import_module(module), name)(**json.loads(payload)))
        dist.barrier()  # no rank leaves while another one still talks to it
        dist.destroy_process_group()
        return result
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        if failures:
            _report(Path(failures), error)
        os._exit(1)  # at once: leaving the group in order would wait for the other ranks


def _import_path(function: Callable[..., Any]) -> str:
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not function:
        raise ValueError(f"{module}:{name} is no function that other processes can import")
    return f"{module}:{name}"


@contextlib.contextmanager
def _importable_by_children() -> Iterator[None]:
    """Local ranks are fresh interpreters: they get this one's module search path."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _spark_has_gpus(spark: "SparkSession", local: bool) -> bool:
    key = "spark.driver.resource.gpu.amount" if local else "spark.task.resource.gpu.amount"
    return float(spark.conf.get(key, "0") or 0) >= 1


def _check_cluster(spark: "SparkSession", num_processes: int, wait_s: float) -> None:
    """All ranks run at once or not at all. Spark itself would retry for ten minutes before it says so."""
    if spark.conf.get("spark.dynamicAllocation.enabled", "false") == "true":
        raise TrainingError(
            "Training on several processes does not work with spark.dynamicAllocation.enabled.",
            "Switch it off and ask for fixed executors, or set training.num_processes to 1.",
        )
    until = time.monotonic() + wait_s
    while (slots := concurrent_tasks(spark)) < num_processes:
        if time.monotonic() >= until:
            raise TrainingError(
                f"training.num_processes is {num_processes}, but this cluster runs {slots} tasks at a time "
                f"(spark.task.cpus={spark.conf.get('spark.task.cpus', '1')}).",
                "All processes must run at once: lower num_processes, or add executors or cores.",
            )
        time.sleep(min(1.0, wait_s))


def concurrent_tasks(spark: "SparkSession") -> int:
    """Tasks that the executors registered now can run at the same time; what Spark's barrier stages check."""
    context = spark.sparkContext._jsc.sc()
    return int(context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile()))


def _report(folder: Path, error: BaseException) -> None:
    rank = os.environ.get("RANK", "?")
    if isinstance(error, KdsparkError):
        problem, remedy = error.problem, error.remedy
    else:
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        problem = f"{type(error).__name__}: {error}{where}."
        remedy = "The log above has the rank's stack."
    fact = {"time": time.time(), "rank": rank, "problem": problem, "remedy": remedy}
    write_json(folder / f"rank-{rank}.json", fact)


def _first_failure(folder: Path | None, error: Exception, num_processes: int) -> TrainingError:
    """Ranks that lose their partner fail too, later; the first failure is the reason."""
    failures = [read_json(path) for path in sorted(folder.glob("rank-*.json"))] if folder else []
    if not failures:
        tail = " | ".join(line.strip() for line in str(error).strip().splitlines()[-3:])
        return TrainingError(
            f"Training on {num_processes} processes failed: {tail}",
            "The log has the output of all processes; a process killed for memory leaves no message.",
        )
    first = min(failures, key=lambda failure: float(failure["time"]))
    return TrainingError(f"Rank {first['rank']} of {num_processes}: {first['problem']}", first["remedy"])
