"""A real standalone Spark cluster on loopback: one master, some workers, processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark

SPARK_HOME = Path(pyspark.__file__).parent
REPOSITORY = Path(__file__).parents[2]
_DEADLINE = 90.0


def environment(folder: Path) -> dict[str, str]:
    """Variables for master, workers and spark-submit: loopback only, this Python, scratch space of the test's own.

    Their JVMs, and the executors', live too briefly for the second compiler.
    """
    return {
        **os.environ,
        "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_LOG_DIR": str(folder / "logs"),
        "SPARK_WORKER_DIR": str(folder / "work"),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        "TZ": "UTC",
    }


@contextmanager
def standalone_cluster(
    folder: Path, hosts: Sequence[str] = ("127.0.0.1", "127.0.0.1"), memory: str = "2G"
) -> Iterator[str]:
    """Start a master and its workers with one core each; yields the master's URL once all workers are registered.

    Args:
        folder: of logs, and of the workers' scratch space.
        hosts: what each worker calls this machine. Spark tries a slow task again on another host alone, which is one
            of another name.
        memory: of a worker.
    """
    port, web = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    master = "org.apache.spark.deploy.master.Master"
    worker = "org.apache.spark.deploy.worker.Worker"
    commands = [[master, "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]]
    for host in hosts:
        arguments = ["--host", host, "--webui-port", str(free_port()), "-c", "1", "-m", memory, url]
        commands.append([worker, *arguments])
    (folder / "local").mkdir(parents=True, exist_ok=True)  # two workers that make it at once fail
    running: list[subprocess.Popen[bytes]] = []
    log = (folder / "cluster.log").open("wb")
    try:
        for command in commands:
            spark_class = [str(SPARK_HOME / "bin" / "spark-class"), *command]
            running.append(
                subprocess.Popen(spark_class, env=environment(folder), stdout=log, stderr=log, start_new_session=True)
            )
            if len(running) == 1:
                _wait_for(lambda: _answers(port), "the master's port", folder)
        _wait_for(lambda: _registered(web) == len(hosts), f"{len(hosts)} registered workers", folder)
        yield url
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # executors that a worker left
        log.close()


def submit(url: str, script: Path, arguments: list[str], folder: Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a job through spark-submit on the cluster, in client mode."""
    command = [
        str(SPARK_HOME / "bin" / "spark-submit"),
        *("--master", url, "--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.ui.enabled=false"),
        *("--conf", "spark.executor.memory=1g", "--conf", "spark.driver.memory=1g"),
        *(str(script), *arguments),
    ]
    return subprocess.run(command, env=environment(folder), cwd=cwd, capture_output=True, text=True, timeout=900)


def free_port() -> int:
    """A TCP port above 1023 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _registered(web: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/json/", timeout=2) as answer:
            return sum(worker["state"] == "ALIVE" for worker in json.load(answer)["workers"])
    except OSError:
        return 0


def _wait_for(condition: Callable[[], bool], what: str, folder: Path) -> None:
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.3)
    tail = (folder / "cluster.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"no {what} within {_DEADLINE} s; the cluster's log ends:\n{tail}")
