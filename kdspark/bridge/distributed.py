"""Running a training function once in this process, or once per rank on executors through TorchDistributor."""

import importlib
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from kdspark.errors import KdsparkError, TrainingError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run_training(
    spark: "SparkSession", function: Callable[..., dict[str, Any]], arguments: dict[str, Any], num_processes: int
) -> dict[str, Any]:
    """Call `function(**arguments)`, on several processes if asked to.

    Args:
        function: a module-level function; its result is JSON-able. Within several processes it finds an initialised
            process group (nccl with GPUs, else gloo) and must make equal steps on every rank.
        arguments: JSON-able; what is large lies in folders that every node sees.
        num_processes: 1 runs here; more run on executors, all at once (barrier execution).

    Returns:
        What rank 0 returned.

    Raises:
        TrainingError: the cluster has too few slots, or a rank failed.
    """
    if num_processes == 1:
        return function(**arguments)
    slots = spark.sparkContext.defaultParallelism
    if slots < num_processes:
        raise TrainingError(
            f"`num_processes` is {num_processes}, but the cluster runs only {slots} tasks at a time.",
            "Lower it, or add executors: all ranks must run at once.",
        )
    from pyspark.ml.torch.distributor import TorchDistributor

    use_gpu = torch.cuda.is_available()
    local = str(spark.sparkContext.master).startswith("local")
    distributor = TorchDistributor(num_processes=num_processes, local_mode=local, use_gpu=use_gpu)
    name = f"{function.__module__}:{function.__qualname__}"
    try:
        answer = distributor.run(run_rank, name, json.dumps(arguments), use_gpu)
    except RuntimeError as error:
        problem = str(error).strip().splitlines()
        raise TrainingError(
            f"Distributed training of {num_processes} processes failed: {problem[-1] if problem else error!r}.",
            "The log above has the first rank's reason; --set …num_processes=1 trains in the driver.",
        ) from error
    result = json.loads(str(answer))
    if "error" in result:
        raise TrainingError(result["error"], result["remedy"])
    return dict(result["value"])


def run_rank(name: str, arguments: str, use_gpu: bool) -> str:
    """What each rank runs: join the group, call the function, answer in JSON."""
    module, function = name.split(":")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    dist.init_process_group("nccl" if use_gpu else "gloo")
    if use_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        value = getattr(importlib.import_module(module), function)(**json.loads(arguments))
        dist.barrier()
        return json.dumps({"value": value})
    except KdsparkError as error:
        return json.dumps({"error": error.problem, "remedy": error.remedy})
    finally:
        dist.destroy_process_group()
