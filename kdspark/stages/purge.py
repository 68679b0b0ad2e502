"""What stages hold of users who are erased: it is discarded, but for what later nights go on from, which forgets them.

Of the stages behind published runs two kinds stay: `prepare`, as a vocabulary without these users' ids, since numbers
are never given anew; and the students, whose vectors of these users become zero, since a warm start takes up the rest.
Neither counts as finished any more. Of what lies between them only the manifest stays, which says what came from what.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from kdspark import tables
from kdspark.errors import StageError
from kdspark.models.forget import forget_users
from kdspark.spark.purging import blank, holds, rows_with
from kdspark.stages import prepare, student
from kdspark.workspace import Manifest, Workspace, described
from kdspark.workspace.manifest import MANIFEST, read_manifest, write_manifest

_VOCABULARY = ("user_ids", "item_ids", "user_codes", "item_codes", "features.json")
_STUDENTS = (student.PLAIN, student.name("train"), student.name("full"))
_ERASED = "-erased"


@dataclass(frozen=True)
class Purged:
    """What was done to a stage's folder: `kept` says with which files, by name with their hashes before and after."""

    folder: str
    kept: dict[str, dict[str, str | None]]


class Stages:
    """The stage folders of a workspace, and of its searches.

    Args:
        named: stage -> folder of each published run's manifest.
    """

    def __init__(self, workspace: Workspace, named: Iterable[Mapping[str, str]]) -> None:
        self._root = workspace.root
        self._manifests = {folder: _read(folder) for folder in _folders(self._root)}
        self._behind = self._reached([(stage, str(folder)) for run in named for stage, folder in run.items()])

    @property
    def prepared(self) -> list[Path]:
        """Folders with a vocabulary."""
        return [folder for folder in self._manifests if (folder / "user_ids").is_dir()]

    def purge(self, ids: pa.Array) -> Iterator[Purged]:
        """Purge what was made with the data of these users; what was made without stays as it is."""
        numbers: dict[str, list[int]] = {}
        for folder in self.prepared:
            if found := rows_with(folder / "user_ids", tables.USER_ID, ids, tables.USER_IDX):
                numbers[folder.name] = found
        if not numbers:
            return
        # Models before vocabularies: what says which numbers are whose goes last, so that a second try finds them.
        order = sorted(self._manifests, key=lambda folder: folder.name in numbers)
        for folder in order:
            users = self._users_of(folder, numbers)
            if users is not None:
                yield self._purge(folder, users, ids)
        for path in (self._root / "checkpoints", *self._root.glob("search/*/checkpoints")):
            shutil.rmtree(path, ignore_errors=True)

    def _users_of(self, folder: Path, numbers: Mapping[str, list[int]]) -> list[int] | None:
        """The erased users whose data a stage was made with; None for no one's. Without a manifest nobody knows."""
        if folder.name in numbers:
            return numbers[folder.name]
        manifest = self._manifests[folder]
        if manifest is None:
            return []
        waiting, seen = [*manifest.inputs.items()], set()
        found: list[int] | None = None
        while waiting:
            stage, key = waiting.pop()
            if (stage, key) in seen:
                continue
            seen.add((stage, key))
            if stage == prepare.NAME:
                found = [*(found or []), *numbers[key[:20]]] if key[:20] in numbers else found
            above = next((m for f, m in self._manifests.items() if m and f.name == key[:20] and m.stage == stage), None)
            waiting += above.inputs.items() if above else []
        return found

    def _purge(self, folder: Path, users: list[int], ids: pa.Array) -> Purged:
        name = folder.relative_to(self._root).as_posix()
        manifest = self._manifests[folder]
        if manifest is None or folder not in self._behind:
            shutil.rmtree(folder, ignore_errors=True)
            return Purged(name, {})
        before = {file: str(entry["sha256"]) for file, entry in manifest.files.items()}
        if manifest.stage == prepare.NAME:
            _keep(folder, _VOCABULARY)
            for path in (folder / "user_ids").glob("*.parquet"):
                if holds(path, tables.USER_ID, ids):
                    made = path.with_name(f".{path.name}")
                    blank(path, tables.USER_ID, ids, made)
                    # Hadoop's checksum of what was there: reading in Spark would fail on it, and without one does not.
                    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
                    made.replace(path)
        elif manifest.stage in _STUDENTS and (folder / student.MODEL).is_dir():
            _keep(folder, (student.MODEL,))
            forget_users(folder / student.MODEL, users)
        else:
            _keep(folder, ())
        files = {file: entry for file, entry in described(folder).items() if file != MANIFEST}
        key = manifest.key if manifest.key.endswith(_ERASED) else manifest.key + _ERASED
        write_manifest(folder, replace(manifest, key=key, files=files))
        return Purged(name, {file: {"before": before.get(file), "after": e["sha256"]} for file, e in files.items()})

    def _reached(self, waiting: list[tuple[str, str]]) -> set[Path]:
        """The folders of these stages, and of those that they were made from."""
        found: set[Path] = set()
        while waiting:
            stage, folder = waiting.pop()
            path = self._root / "stages" / stage / folder
            manifest = self._manifests.get(path)
            if manifest is not None and path not in found:
                found.add(path)
                waiting += [(need, key[:20]) for need, key in manifest.inputs.items()]
        return found


def _folders(root: Path) -> list[Path]:
    found = [*root.glob("stages/*/*"), *root.glob("search/*/stages/*/*")]
    return sorted(path for path in found if path.is_dir())


def _read(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except StageError:
        return None


def _keep(folder: Path, names: Iterable[str]) -> None:
    """Remove all else but the manifest."""
    for path in folder.iterdir():
        if path.name not in (*names, MANIFEST):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
