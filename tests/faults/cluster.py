"""C2: a real standalone master with two workers on loopback, nights on it, and a look at its executors."""

import itertools
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kdspark.failpoints import VARIABLE
from tests.faults.nights import SPARK, FaultyNight
from tests.integration.cluster import standalone_cluster

_NAMES = ("127.0.0.1", "localhost")  # one machine, two hosts: else Spark would not try a slow task a second time


@dataclass(frozen=True)
class Cluster:
    """A running one.

    Attributes:
        url: of its master.
        folder: of its logs, and of its workers' scratch space.
    """

    url: str
    folder: Path

    @classmethod
    @contextmanager
    def start(cls, folder: Path) -> Iterator["Cluster"]:
        """Until the block ends."""
        with standalone_cluster(folder, _NAMES) as url:
            yield cls(url, folder)

    def night(self, folder: Path, **settings: str) -> "ClusterNight":
        """A night on it that has not been run, with further Spark settings; `__` stands for a dot in their names."""
        return ClusterNight(self, folder, {f"spark.{name.replace('__', '.')}": v for name, v in settings.items()})


class ClusterNight(FaultyNight):
    """A night whose driver is on this machine and whose executors are the cluster's."""

    def __init__(self, cluster: Cluster, folder: Path, settings: dict[str, str]) -> None:
        self.cluster, self._before = cluster, set(self._applications(cluster))
        local = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        super().__init__(folder, spark={"master": cluster.url, "settings": {**SPARK["settings"], **local, **settings}})

    def environment(self, fail: str) -> dict[str, str]:
        """With the places for the executors, too: by spark-submit's options, which are the operator's alone."""
        found = {**super().environment(fail), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        if fail:
            told = shlex.quote(f"spark.executorEnv.{VARIABLE}={fail}")
            found["PYSPARK_SUBMIT_ARGS"] = f"--conf {told} pyspark-shell"
        return found

    def executor_at(self, place: str, seconds: float = 300) -> int:
        """The process of its executor that has come to a failpoint, once there is one."""
        deadline = time.monotonic() + seconds
        while not (logs := self.logs_of(place)):
            assert time.monotonic() < deadline, f"no executor has come to {place}"
            time.sleep(0.1)
        return _executor(logs[0].parent.parent.name, logs[0].parent.name)

    def logs_of(self, place: str) -> list[Path]:
        """Of its executors that have come to a failpoint."""
        mine = set(self._applications(self.cluster)) - self._before
        logs = (log for folder in mine for log in folder.glob("*/stderr"))
        return [log for log in logs if f"failpoint {place}=" in log.read_text(errors="replace")]

    @staticmethod
    def _applications(cluster: Cluster) -> list[Path]:
        return list((cluster.folder / "work").glob("app-*"))


def _executor(application: str, executor: str) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        told = dict(itertools.pairwise(words))  # --name value
        if told.get("--executor-id") == executor and told.get("--app-id") == application:
            return int(folder.name)
    raise AssertionError(f"executor {executor} of {application} is no more")
