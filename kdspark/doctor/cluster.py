"""The cluster: a small job on every executor tells whether they are like the driver, and see what it sees."""

import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdspark.bridge.distributed import concurrent_tasks
from kdspark.doctor import probe as probes
from kdspark.doctor.check import Finding, Patient, check
from kdspark.doctor.machine import size_of
from kdspark.doctor.registering import wait_for_executors
from kdspark.doctor.storage import judged_clock
from kdspark.doctor.versions import installed
from kdspark.errors import InputError
from kdspark.spark.io import literal
from kdspark.spark.sources import list_files
from kdspark.workspace.owners import owned

_PACKAGES = ["kdspark", "pyspark", "pyarrow", "numpy", "pandas", "torch", "petastorm", "safetensors", "scipy", "numba"]
_WAIT_S = 0.5
Answers = list[dict[str, Any]]


@check("executors")
def executors(patient: Patient) -> Iterator[Finding]:
    """Versions, shared folders, clocks and memory of all executors."""
    token = None
    if patient.root is not None:
        token = patient.root.absolute() / owned("doctor")
        token.write_text("seen by all")
    try:
        expected = wait_for_executors(patient.session)
        started = time.time()
        answers = _ask(patient, token)
        took = time.time() - started
        yield from judged(patient, answers, token, started, took, expected)
    finally:
        if token is not None:
            for path in token.parent.glob(f"{token.name}*"):
                path.unlink(missing_ok=True)


@check("inputs")
def inputs(patient: Patient) -> Iterator[Finding]:
    """Whether the logs and tables of the configuration are there, and a file of each is read on an executor."""
    if patient.config is None:
        return
    data = patient.config.data
    for name, source in (("interactions", data.interactions), ("users", data.users), ("items", data.items)):
        if source is None:
            continue
        try:
            files = list_files(patient.session, source)
        except InputError as error:
            yield Finding(f"data.{name}", "FAIL", error.problem, error.remedy)
            continue
        size = sum(file.bytes for file in files)
        first = next(file.path for file in files if file.bytes)
        patient.session.read.format("binaryFile").load(literal(first)).select("length").collect()  # one file
        yield Finding(f"data.{name}", "ok", f"{len(files):,} files, {size / 2**30:,.2f} GiB; executors read them")


def judged(
    patient: Patient, answers: Answers, token: Path | None, started: float, took: float, expected: int = 0
) -> Iterator[Finding]:
    """What the executors' answers mean.

    Args:
        started, took: when they were asked, and how long it took: so late an answer may be.
        expected: executors that there should be; 0: any number.
    """
    there = {(answer["host"], answer["executor"]) for answer in answers}
    hosts = {host for host, _ in there}
    found = f"{len(there)} on {len(hosts)} machines answered"
    if len(there) < expected:
        remedy = "Look at the cluster manager for free cores and memory, or lower spark.executor.instances."
        yield Finding("executors", "warning", f"{found}, of {expected}", remedy)
    else:
        yield Finding("executors", "ok", found)
    yield _alike(answers)
    if token is not None:
        yield _shared(answers, token)
    scratch = [f"{answer['host']}: {answer['scratch']}" for answer in answers if answer["scratch"]]
    yield Finding(
        "executors' scratch",
        "FAIL" if scratch else "ok",
        scratch[0] if scratch else "temporary files can be written",
        "Give executors a folder for temporary files." if scratch else "",
    )
    off = max((_outside(answer["time"], started, took) for answer in answers), key=abs)
    yield judged_clock("executors' clocks", off, "an executor's clock")
    yield from _memory(patient, answers)


def _ask(patient: Patient, token: Path | None) -> Answers:
    from pyspark import cloudpickle

    context = patient.session.sparkContext
    tasks = max(2, 2 * concurrent_tasks(patient.session))
    path, packages, wait_s = str(token) if token else None, _PACKAGES, _WAIT_S
    cloudpickle.register_pickle_by_value(probes)  # type: ignore[no-untyped-call]  # executors may lack this package
    probe = probes.probe
    try:
        asked = context.parallelize(range(tasks), tasks).mapPartitions(lambda rows: probe(rows, path, packages, wait_s))
        return [json.loads(text) for text in asked.map(json.dumps).collect()]  # a row per task
    finally:
        cloudpickle.unregister_pickle_by_value(probes)  # type: ignore[no-untyped-call]


def _alike(answers: Answers) -> Finding:
    """Python to the minor version, libraries to the last digit: the same weights on all nodes."""
    mine = {name: installed(name) for name in _PACKAGES}
    for answer in answers:
        if answer["python"].rpartition(".")[0] != platform.python_version().rpartition(".")[0]:
            wrong = f"Python {answer['python']} at {answer['program']}, {platform.python_version()} here"
        else:
            other = next((name for name in _PACKAGES if answer["packages"][name] != mine[name]), None)
            if other is None:
                continue
            wrong = f"{other} {answer['packages'][other] or 'is missing'}, {mine[other]} here"
        remedy = "Ship one environment to all nodes (README, Deploy: venv-pack)."
        return Finding("executors' versions", "FAIL", f"{answer['host']}: {wrong}", remedy)
    found = f"as here: Python {platform.python_version()}, kdspark {mine['kdspark']}"
    return Finding("executors' versions", "ok", found)


def _shared(answers: Answers, token: Path) -> Finding:
    remedy = "Mount one folder under the same path on all nodes, writable for Spark's user."
    for answer in answers:
        if answer["reads"] or answer["writes"]:
            what = f"not seen ({answer['reads']})" if answer["reads"] else f"not writable ({answer['writes']})"
            return Finding("executors' --root", "FAIL", f"{answer['host']}: {token.parent}: {what}", remedy)
    unseen = [answer for answer in answers if not Path(answer["made"]).exists()]
    if unseen:
        found = f"{unseen[0]['host']}: what it writes at {token.parent} is not seen here"
        return Finding("executors' --root", "FAIL", found, remedy)
    return Finding("executors' --root", "ok", f"{token.parent}: read and written by all")


def _outside(then: float, started: float, took: float) -> float:
    """Seconds by which a time lies before or after that in which it can have been read."""
    return min(0.0, then - started) or max(0.0, then - started - took)


def _memory(patient: Patient, answers: Answers) -> Iterator[Finding]:
    """What the executors of a machine may take together, against what it has."""
    conf = dict(patient.session.sparkContext.getConf().getAll())
    if conf.get("spark.master", "").startswith("local"):
        return
    heap = size_of(conf.get("spark.executor.memory", "1g"), "m")
    overhead = size_of(conf.get("spark.executor.memoryOverhead", "0"), "m") or max(384 << 20, heap // 10)
    one = heap + overhead + size_of(conf.get("spark.executor.pyspark.memory", "0"), "m")
    for host in sorted({answer["host"] for answer in answers}):
        here = [answer for answer in answers if answer["host"] == host]
        count, whole = len({answer["executor"] for answer in here}), here[0]["memory"]
        found = f"{host}: {count} x {one / 2**30:.1f} GiB of {whole / 2**30:.1f} GiB"
        if count * one > whole:
            yield Finding("executors' memory", "FAIL", found, "Lower spark.executor.memory or its overhead.")
        else:
            yield Finding("executors' memory", "ok", found)
