"""Nights as processes of their own, that can be killed: forty users, a few hundred weights, half a minute."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from kdspark.failpoints import VARIABLE
from tests.stages.tiny import tiny_config

DATE, NEXT = "2024-01-02", "2024-01-03"
MAIN = "import sys; from kdspark.cli import main; main(sys.argv[1:])"
STAGES = (
    *("prepare", "baselines", "train_teacher", "soft_labels", "train_plain", "train_student"),
    *("score", "evaluate", "publish"),
)
SPARK: dict[str, Any] = {
    "master": "local[2,4]",
    "settings": {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.driver.memory": "1g"},
}


@dataclass
class Ended:
    """How a process ended, and what it said."""

    code: int
    log: str

    @property
    def errors(self) -> list[str]:
        """The lines of kdspark's own errors."""
        return [line for line in self.log.splitlines() if line.startswith("kdspark: error:")]


class FaultyNight:
    """A configuration and a ROOT, on which verbs run.

    Attributes:
        main: the program that runs them.
    """

    main = MAIN

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder, self.root = folder, folder / "root"
        folder.mkdir(parents=True, exist_ok=True)
        config = {**tiny_config(folder), "gate": {"metric": "ndcg@5", "min_ratio_to_popularity": 0.0}, "spark": SPARK}
        self.config = folder / "night.yaml"
        self.config.write_text(yaml.safe_dump({**config, **changes}))

    def go_on_from(self, other: "FaultyNight", before: str) -> None:
        """Take the configuration of another night, and the stages that it finished before one of them."""
        self.config = other.config
        for stage in STAGES[: STAGES.index(before)]:
            shutil.copytree(other.root / "stages" / stage, self.root / "stages" / stage)

    def environment(self, fail: str) -> dict[str, str]:
        """Of the process; with the places at which it fails. Its JVM lives too briefly for the second compiler, which
        takes a third of a small night's processor time."""
        return {**os.environ, "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1", VARIABLE: fail}

    def start(self, *more: str, verb: str = "run", date: str = DATE, fail: str = "") -> "subprocess.Popen[bytes]":
        """Start a verb; its output goes to a file of its own."""
        command = [sys.executable, "-c", self.main, verb, "--config", str(self.config), "--date", date]
        self.log = self.folder / f"{time.time_ns()}.log"
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [*command, "--root", str(self.root), *more],
                env=self.environment(fail),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *more: str, verb: str = "run", date: str = DATE, fail: str = "") -> Ended:
        """Run a verb to its end."""
        process = self.start(*more, verb=verb, date=date, fail=fail)
        try:
            process.wait(900)
        finally:
            end_group(process)
        return Ended(process.returncode, self.log.read_text(errors="replace"))

    def ask(self, verb: str, *more: str) -> Ended:
        """Run a verb that has nothing but ROOT."""
        command = [sys.executable, "-c", MAIN, verb, "--root", str(self.root), *more]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return Ended(ended.returncode, ended.stdout if ended.returncode == 0 else ended.stdout + ended.stderr)

    def wait_for(self, words: str, seconds: float = 120) -> None:
        """Until the running verb has said so."""
        deadline = time.monotonic() + seconds
        while words not in self.log.read_text(errors="replace"):
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)

    def check_finished_as(self, gold: list[tuple[Any, ...]]) -> None:
        """After a kill: readers see nothing or these rows; the next run publishes them, and leaves nothing else."""
        if (self.root / "latest.json").exists():
            assert self.rows == gold
        again = self.run()
        assert again.code == 0, again.log
        assert self.rows == gold
        assert not list(self.root.rglob("staging-*"))
        assert not list(self.root.rglob("*.tmp-*"))

    @property
    def tree(self) -> dict[str, str]:
        """sha256 of the pointer and of every published file: TREE."""
        paths = [self.root / "latest.json", *(self.root / "published").rglob("*")]
        files = [path for path in paths if path.is_file()]
        return {str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The sorted rows of what the pointer names, of which every hash is checked: to be compared with GOLD."""
        verified = self.ask("verify")
        assert verified.code == 0, verified.log
        latest = json.loads((self.root / "latest.json").read_text())
        folder = self.root / "published" / latest["date"] / latest["run_id"] / "recommendations"
        table = pq.read_table(folder, columns=["user_id", "rank", "item_id", "score", "reason"])
        return sorted(tuple(row.values()) for row in table.to_pylist())


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill what a process has left running: the JVM of a driver that was killed ends by itself, but later."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
