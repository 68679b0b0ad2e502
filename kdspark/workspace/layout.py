"""Where stages and runs live below ROOT, and when a stage's folder is a finished one."""

import datetime as dt
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kdspark.errors import ConfigError, StageError
from kdspark.failpoints import reached
from kdspark.workspace.files import described, difference, read_json, sync_folder
from kdspark.workspace.lock import exclusive
from kdspark.workspace.manifest import MANIFEST, DamagedManifestError, Manifest, read_manifest, write_manifest
from kdspark.workspace.owners import is_left, owned
from kdspark.workspace.paths import RUN_ID, inside, is_inside, links_in

log = logging.getLogger("kdspark")

# folders of files that are replaced
_WRITTEN = ("checkpoints", "runs", "published", "leases", "health", "erased", "receipts")
_OWN = (*_WRITTEN, "stages", "search", "latest.json", "publish.json")


class Workspace:
    """The folders below one ROOT.

    Args:
        root: created if it does not exist.

    Raises:
        ConfigError: the folder cannot be created or written, or a link in it leads elsewhere.
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
        for name in _OWN:
            inside(self.root, self.root / name, ConfigError)

    def home(self, stage: str, key: str) -> Path:
        """The folder below which a stage's output and checkpoints lie: ROOT, unless a kind of workspace says else."""
        return self.root

    def stage_folder(self, stage: str, key: str) -> Path:
        return inside(self.root, self.home(stage, key) / "stages" / stage / key[:20])

    def finished(self, stage: str, key: str) -> Manifest | None:
        """The manifest of a finished stage, or None if it has to run, as it has where the manifest is damaged."""
        try:
            manifest = read_manifest(self.stage_folder(stage, key))
        except DamagedManifestError as error:
            log.warning("%-14s is made anew: %s", stage, error.problem)
            return None
        return manifest if manifest is not None and manifest.key == key else None

    def manifest_in(self, stage: str, folder: str) -> Manifest | None:
        """The manifest of the finished stage in a folder of this name, as a published run names it; None if none is.

        Raises:
            StageError: it is damaged, or a link leads elsewhere.
        """
        if not (RUN_ID.fullmatch(stage) and RUN_ID.fullmatch(folder)):
            return None
        return read_manifest(inside(self.root, self.root / "stages" / stage / folder))

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
        if links := links_in(staged):
            raise StageError(f"{staged / links[0]} is a link, which no stage writes.", "Look for what put it there.")
        manifest = replace(manifest, files=described(staged))
        write_manifest(staged, manifest)
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

    def damage(self, manifest: Manifest, tables: Collection[str] | None = None) -> list[str]:
        """What is wrong with the files of a finished stage; empty if every size and hash is as it was.

        What this process has finished, or found to be whole, is not looked at again.

        Args:
            tables: folders of the output that are to be looked at; None: all of it.
        """
        if manifest.key in self._whole:
            return []
        folder = self.stage_folder(manifest.stage, manifest.key)
        if tables is not None:
            known = {name: file for name, file in manifest.files.items() if name.partition("/")[0] in tables}
            found = {f"{table}/{name}": file for table in tables for name, file in described(folder / table).items()}
            return difference(known, found)
        found = described(folder)
        found.pop(MANIFEST, None)
        damage = [f"{name} is a link" for name in links_in(folder)] + difference(manifest.files, found)
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
            if is_left(path) and is_inside(self.root, path.parent):
                log.info("%-14s left by a run that has ended: %s", "removed", path)
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def checkpoints(self, stage: str, key: str) -> Path:
        """Folder for a stage's checkpoints, made on first use. It outlives a killed run, so that training resumes."""
        return inside(self.root, self.home(stage, key) / "checkpoints" / stage / key[:20])

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
        return inside(self.root, self.root / "runs" / date.isoformat() / run_id)

    def newest_run(self, date: dt.date) -> Path:
        """Folder of the latest evaluated run of a date.

        Raises:
            StageError: there is none.
        """
        folder = self.root / "runs" / date.isoformat()
        try:
            run_id = str(read_json(inside(self.root, folder / "newest.json"))["run_id"])
            if not RUN_ID.fullmatch(run_id):
                raise ValueError(f"{run_id!r} is no id of a run")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StageError(
                f"{folder}: no evaluated run for {date}.",
                f"Run `kdspark run --date {date} --root {self.root} --config …` first.",
            ) from error
        return self.run_folder(date, run_id)
