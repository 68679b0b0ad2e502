"""This machine: memory, processors, limits and devices."""

import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from kdspark.doctor.check import Finding, Patient, check

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_HEAP_SHARE = 0.6  # training, Arrow and Python workers live beside Spark's heap
_FILES = 4096
_SHARED_BYTES = 64 << 20


def size_of(text: str, unit: str = "") -> int:
    """Bytes of a size as Spark writes it, such as 4g; a bare number counts in `unit`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)b?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no size")
    return int(float(match[1]) * _UNITS[match[2] or unit])


def memory_bytes() -> int:
    """Of this machine, or what its container may use."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdecimal() else whole


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@check("driver memory")
def driver_memory(patient: Patient) -> Iterator[Finding]:
    """Spark's heap here, against the machine's memory: Python and training need some as well."""
    heap, whole = size_of(patient.spark.settings.get("spark.driver.memory", "1g"), "m"), memory_bytes()
    found = f"spark.driver.memory {heap / 2**30:.1f} GiB of {whole / 2**30:.1f} GiB"
    if heap >= whole:
        yield Finding("driver memory", "FAIL", found, "Lower spark.driver.memory below what the machine has.")
    elif heap > _HEAP_SHARE * whole:
        yield Finding("driver memory", "warning", found, "Lower it to half: training needs memory too.")
    else:
        yield Finding("driver memory", "ok", found)


@check("threads")
def threads(patient: Patient) -> Iterator[Finding]:
    """Tasks at a time against processors; threads of one task against spark.task.cpus."""
    there = cores()
    master = patient.spark.master or ""
    match = re.match(r"local\[(\d+)", master)
    tasks = int(match[1]) if match else 1 if master == "local" else there
    cpus = int(patient.spark.settings.get("spark.task.cpus", "1"))
    found = f"{there} processors"
    if match or master == "local":
        found += f", {tasks} tasks at a time"
    if tasks > there:
        yield Finding("threads", "warning", found, f"Lower `spark.master` to local[{there},4]: more tasks take longer.")
    elif cpus > there:
        yield Finding("threads", "FAIL", f"{found}, spark.task.cpus {cpus}", "Lower spark.task.cpus.")
    else:
        yield Finding("threads", "ok", found)
    omp = os.environ.get("OMP_NUM_THREADS", "")
    if omp.isdecimal() and int(omp) > there:
        yield Finding("OMP_NUM_THREADS", "warning", f"{omp} on {there} processors", "Lower it, or leave it unset.")


@check("open files")
def open_files(patient: Patient) -> Iterator[Finding]:
    """Shuffles hold many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = f"{soft:,} files at a time" if soft != resource.RLIM_INFINITY else "any number"
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        status = "FAIL" if soft < _FILES // 8 else "warning"
        yield Finding("open files", status, most, f"Raise the limit: `ulimit -n {_FILES * 4}` (at most {hard}).")  # type: ignore[arg-type]
    else:
        yield Finding("open files", "ok", most)


@check("shared memory")
def shared_memory(patient: Patient, folder: Path = Path("/dev/shm")) -> Iterator[Finding]:  # noqa: S108
    """Training on several processes of a machine passes tensors through it."""
    if not os.access(folder, os.W_OK):
        yield Finding(
            "shared memory", "warning", f"{folder} is not writable", "Training on several processes needs it."
        )
        return
    free = shutil.disk_usage(folder).free
    few = free < _SHARED_BYTES
    remedy = "Enlarge it (containers: --shm-size), or train in one process." if few else ""
    yield Finding("shared memory", "warning" if few else "ok", f"{free / 2**20:,.0f} MiB at {folder}", remedy)


@check("GPU")
def gpu(patient: Patient) -> Iterator[Finding]:
    """Whether training will find one; it does without."""
    import torch

    if torch.cuda.is_available():
        yield Finding("GPU", "ok", f"{torch.cuda.device_count()}: {torch.cuda.get_device_name(0)}")
    elif shutil.which("nvidia-smi") and subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout:
        yield Finding("GPU", "warning", "there is one; torch does not see it", "Install torch for this driver.")
    else:
        yield Finding("GPU", "ok", "none; training uses the processors")


@check("time zone")
def time_zone(patient: Patient) -> Iterator[Finding]:
    """For people only: nights count in UTC whatever it is."""
    yield Finding("time zone", "ok", f"{time.tzname[0]}; nights count in UTC")
