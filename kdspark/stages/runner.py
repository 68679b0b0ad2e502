"""Runs stages, or finds their finished output: equal inputs and settings give an equal key, and so the same folder."""

import datetime as dt
import importlib.metadata
import logging
import platform
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kdspark import __version__
from kdspark.errors import StageError
from kdspark.failpoints import reached
from kdspark.spark.full_disk import full_disks
from kdspark.spark.worker_errors import worker_errors
from kdspark.stages.stage import Night, Outcome, Stage, Task
from kdspark.workspace import Manifest, digest_of

log = logging.getLogger("kdspark")

_LIBRARIES = ("pyspark", "torch", "petastorm", "pyarrow", "numpy", "pandas")


def versions() -> dict[str, str]:
    """Versions of kdspark, Python and the libraries that results depend on."""
    found = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"kdspark": __version__, "python": platform.python_version(), **found}


class Runner:
    """Runs the stages of one night, in order, each at most once.

    Args:
        night: what to run.
        stages: all stages by name.
    """

    def __init__(self, night: Night, stages: Mapping[str, Stage]) -> None:
        self.night = night
        self.stages = stages
        self._keys: dict[str, str] = {}
        self._settings: dict[str, Any] = {}

    def key(self, name: str) -> str:
        """Digest of everything that determines a stage's output."""
        if name not in self._keys:
            stage = self.stages[name]
            self._keys[name] = digest_of(
                {
                    "stage": name,
                    "versions": versions(),
                    "seed": self.night.config.seed,
                    "settings": self._settings_of(name),
                    "inputs": {need: self.key(need) for need in stage.needs},
                }
            )
        return self._keys[name]

    @property
    def began(self) -> bool:
        """Whether any stage has been looked at, which takes a session that can list files."""
        return bool(self._keys)

    def finished(self, name: str) -> Manifest | None:
        """Manifest of a stage, or None if it has not been run with this configuration and these inputs."""
        return self.night.workspace.finished(name, self.key(name))

    def manifest(self, name: str) -> Manifest:
        """Manifest of a finished stage, whose files are what they were when it was finished.

        Raises:
            StageError: it has not been run with this configuration and these inputs, or its files are damaged.
        """
        manifest, again = self.finished(name), f"Run `kdspark {self.stages[name].verb}` with the same --config, --date"
        if manifest is None:
            raise StageError(
                f"Stage {name} has no output for this date, configuration and input.", f"{again} and --root first."
            )
        if damage := self.night.workspace.damage(manifest):
            folder = self.night.workspace.stage_folder(name, manifest.key)
            raise StageError(f"{folder}: damaged: {damage[0]}.", f"{again} and --root: it is made anew.")
        return manifest

    def output(self, name: str) -> Path:
        """Folder of a finished stage; raises StageError as `manifest` does."""
        return self.night.workspace.stage_folder(name, self.manifest(name).key)

    def run(self, names: Iterable[str]) -> None:
        """Run the named stages in the order given, reusing what is finished.

        Raises:
            KdsparkError: whatever the stage raises; its scratch output is removed.
        """
        for name in names:
            self._run_one(self.stages[name])

    def _run_one(self, stage: Stage) -> None:
        workspace, key = self.night.workspace, self.key(stage.name)
        reused = workspace.finished(stage.name, key) if stage.reusable else None
        if reused is not None and (damage := workspace.damage(reused)):
            log.warning("%-14s is made anew: %s", stage.name, damage[0])
            workspace.discard(stage.name, key)
            reused = None
        if reused is not None:
            _log_line(reused, workspace.stage_folder(stage.name, key), "reused")
            return
        inputs = {need: self.output(need) for need in stage.needs}
        log.info("%-14s starting", stage.name)
        reached(f"{stage.name}.start")
        started = time.monotonic()
        with workspace.staging(stage.name, key) as out, full_disks(self.night.places):
            checkpoints = workspace.checkpoints(stage.name, key)
            with worker_errors(f"Stage {stage.name}"):
                settings = self._settings_of(stage.name)
                outcome = stage.build(Task(self.night, stage.name, key, settings, out, inputs, checkpoints))
            reached(f"{stage.name}.built")
            if self.night.lease is not None:
                self.night.lease.check()
            manifest = self._describe(stage, key, outcome, time.monotonic() - started)
            folder = workspace.finish(out, manifest)
            reached(f"{stage.name}.finished")
            shutil.rmtree(checkpoints, ignore_errors=True)
        _log_line(manifest, folder, f"{manifest.seconds:.1f} s")

    def _settings_of(self, name: str) -> Any:
        """A stage's settings, looked up once: the input files that the key pins are those the manifest lists."""
        if name not in self._settings:
            self._settings[name] = self.stages[name].settings(self.night)
        return self._settings[name]

    def _describe(self, stage: Stage, key: str, outcome: Outcome, seconds: float) -> Manifest:
        return Manifest(
            stage=stage.name,
            key=key,
            inputs={need: self.key(need) for need in stage.needs},
            config={"settings": self._settings_of(stage.name), "seed": self.night.config.seed},
            rows=outcome.rows,
            facts=outcome.facts,
            seconds=round(seconds, 3),
            versions=versions(),
            created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        )


def _log_line(manifest: Manifest, folder: Path, how: str) -> None:
    rows = ", ".join(f"{count:,} {table}" for table, count in manifest.rows.items() if count) or "no tables"
    log.info("%-14s %s, %s -> %s", manifest.stage, rows, how, folder)
