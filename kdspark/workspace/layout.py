"""Where stages and runs live below ROOT, and the manifest that makes a stage folder a finished one."""

import datetime as dt
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kdspark.errors import ConfigError, StageError
from kdspark.failpoints import reached
from kdspark.workspace.files import described, difference, read_json, sync_folder, write_json
from kdspark.workspace.lock import exclusive
from kdspark.workspace.owners import is_left, owned

log = logging.getLogger("kdspark")

MANIFEST = "manifest.json"
_WRITTEN = ("checkpoints", "runs", "published", "leases", "erased", "receipts")  # folders of files that are replaced
# Timestamps count from 1970; a night ends where the next day begins, and no day follows the last one.
_FIRST, _LAST = dt.date(1970, 1, 1), dt.date.max - dt.timedelta(days=1)


@dataclass(frozen=True)
class Manifest:
    """What a finished stage says of itself.

    Attributes:
        stage: name of the stage.
        key: digest of everything that determines the output; also the folder's name.
        inputs: upstream stage -> its key.
        config: the configuration sections the stage depends on.
        rows: table name -> row count.
        facts: whatever else the stage found out (metrics, sizes, the pinned input files).
        seconds: wall time.
        versions: kdspark and library versions.
        created: UTC time, ISO 8601.
        files: size and sha256 of every file of the output, by its name.
    """

    stage: str
    key: str
    inputs: dict[str, str]
    config: dict[str, Any]
    rows: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


def parse_date(text: str) -> dt.date:
    """A strict ISO date (YYYY-MM-DD) from 1970-01-01 to 9999-12-30.

    Raises:
        ConfigError: anything else; a date becomes part of paths, so nothing else may pass.
    """
    try:
        date = dt.date.fromisoformat(text)
    except ValueError:
        date = None  # type: ignore[assignment]
    if date is None or date.isoformat() != text:
        raise ConfigError(f"--date {text!r} is not a date.", "Write it as YYYY-MM-DD, such as 1998-04-23.")
    if not _FIRST <= date <= _LAST:
        raise ConfigError(
            f"--date {text} is not between {_FIRST} and {_LAST}.", "Give the night's own date, YYYY-MM-DD."
        )
    return date


class Workspace:
    """The folders below one ROOT.

    Args:
        root: created if it does not exist.

    Raises:
        ConfigError: the folder cannot be created or written.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()
        self._whole: set[str] = set()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--root {self.root}: {error.strerror}.", "Name a folder you can write to.") from error
        if not os.access(self.root, os.W_OK):
            raise ConfigError(f"--root {self.root}: not writable.", "Name a folder you can write to.")

    def home(self, stage: str, key: str) -> Path:
        """The folder below which a stage's output and checkpoints lie: ROOT, unless a kind of workspace says else."""
        return self.root

    def stage_folder(self, stage: str, key: str) -> Path:
        return self.home(stage, key) / "stages" / stage / key[:20]

    def finished(self, stage: str, key: str) -> Manifest | None:
        """The manifest of a finished stage, or None if it has to run."""
        manifest = _manifest(self.stage_folder(stage, key))
        return manifest if manifest is not None and manifest.key == key else None

    def manifest_in(self, stage: str, folder: str) -> Manifest | None:
        """The manifest of the finished stage in a folder of this name; None if there is none."""
        return _manifest(self.root / "stages" / stage / folder)

    @contextmanager
    def staging(self, stage: str, key: str) -> Iterator[Path]:
        """A scratch folder for a stage's output; `finish` makes it the stage's folder. Removed on any failure."""
        folder = self.stage_folder(stage, key).parent / owned(f"staging-{key[:20]}")
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self, staged: Path, manifest: Manifest) -> Path:
        """Write the manifest, with the hashes of all files, into a staged folder, and give it its final name."""
        manifest = replace(manifest, files=described(staged))
        write_json(staged / MANIFEST, asdict(manifest))
        reached(f"{manifest.stage}.manifest")
        final = self.stage_folder(manifest.stage, manifest.key)
        if self.finished(manifest.stage, manifest.key) is not None:  # by another run meanwhile, perhaps being read
            return final
        if final.exists():  # no manifest: not a finished stage
            shutil.rmtree(final)
        staged.rename(final)
        sync_folder(final.parent)
        self._whole.add(manifest.key)
        return final

    def damage(self, manifest: Manifest) -> list[str]:
        """What is wrong with the files of a finished stage; empty if every size and hash is as it was.

        What this process has finished, or found to be whole, is not looked at again.
        """
        if manifest.key in self._whole:
            return []
        found = described(self.stage_folder(manifest.stage, manifest.key))
        found.pop(MANIFEST, None)
        damage = difference(manifest.files, found)
        self._whole |= set() if damage else {manifest.key}
        return damage

    def discard(self, stage: str, key: str) -> None:
        """Remove a stage's folder; it has to run again."""
        folder = self.stage_folder(stage, key)
        scratch = folder.with_name(owned(f"staging-{folder.name}"))
        folder.rename(scratch)  # at once: half a folder has no manifest that counts
        shutil.rmtree(scratch, ignore_errors=True)

    def remove_left(self) -> None:
        """Remove what processes that are gone have not finished: staged folders, and files half written."""
        halves = (path for folder in _WRITTEN for path in (self.root / folder).rglob("*.tmp-*"))
        for path in [*self.root.glob("stages/*/staging-*"), *self.root.glob("*.tmp-*"), *halves]:
            if is_left(path):
                log.info("%-14s left by a run that has ended: %s", "removed", path)
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def checkpoints(self, stage: str, key: str) -> Path:
        """Folder for a stage's checkpoints, made on first use. It outlives a killed run, so that training resumes."""
        return self.home(stage, key) / "checkpoints" / stage / key[:20]

    def lease(self, date: dt.date) -> Path:
        """The file by which one run at a time works on a date."""
        return self.root / "leases" / f"{date.isoformat()}.json"

    @property
    def erasing(self) -> Path:
        """The lease of whoever erases users, while which no night runs."""
        return self.root / "leases" / "erase.json"

    @contextmanager
    def pointing(self) -> Iterator[None]:
        """One process at a time moves the pointers to what is published."""
        with exclusive(self.root / "leases" / "publish.lock", "Publishing", wait=True):
            yield

    def run_folder(self, date: dt.date, run_id: str) -> Path:
        return self.root / "runs" / date.isoformat() / run_id

    def newest_run(self, date: dt.date) -> Path:
        """Folder of the latest evaluated run of a date.

        Raises:
            StageError: there is none.
        """
        folder = self.root / "runs" / date.isoformat()
        try:
            run_id = str(read_json(folder / "newest.json")["run_id"])
        except (OSError, ValueError, KeyError) as error:
            raise StageError(
                f"{folder}: no evaluated run for {date}.",
                f"Run `kdspark run --date {date} --root {self.root} --config …` first.",
            ) from error
        return folder / run_id


def _manifest(folder: Path) -> Manifest | None:
    path = folder / MANIFEST
    try:
        return Manifest(**read_json(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StageError(
            f"{path}: damaged manifest ({error}).", f"Delete {path.parent} and run the stage again."
        ) from error
