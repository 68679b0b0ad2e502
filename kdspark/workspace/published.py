"""Publishing: a finished folder becomes visible at once, by replacing one small pointer file.

Readers resolve the pointer once and then read a folder that never changes again. A pointer for an older date than
the current one is recorded for its date but does not move `latest` back.
"""

import datetime as dt
import logging
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdspark.errors import PublishError
from kdspark.workspace.files import link_or_copy, read_json, sha256_file, sync_folder, write_json
from kdspark.workspace.layout import MANIFEST, Workspace

log = logging.getLogger("kdspark")

POINTER = "latest.json"
TABLE = "recommendations"
_HASHED_AT_ONCE = 4


@dataclass(frozen=True)
class Published:
    """A published run: its date, id, table folder and manifest."""

    date: dt.date
    run_id: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def table(self) -> Path:
        """Folder of the recommendations table; `spark.read.parquet` of it works."""
        return self.folder / TABLE


def publish_run(workspace: Workspace, date: dt.date, run_id: str, staged_table: Path, facts: dict[str, Any]) -> Path:
    """Link a staged table into the published area, hash it, and move the pointers.

    Links cost no copy and no space, and are safe: nothing writes into a stage's or a published file again, and
    whichever folder is removed first leaves the other whole.

    Args:
        staged_table: folder of Parquet files; left as it is.
        facts: recorded in the manifest beside files, sizes and hashes (rows, model version, stage folders, …).

    Returns:
        The published table's folder.
    """
    parent = workspace.root / "published" / date.isoformat()
    final = parent / run_id
    if not (final / MANIFEST).exists():
        scratch = parent / f"staging-{run_id}-{uuid.uuid4().hex[:8]}"
        try:
            hidden = shutil.ignore_patterns("_*", ".*")
            shutil.copytree(staged_table, scratch / TABLE, ignore=hidden, copy_function=link_or_copy)
            manifest = {"date": date.isoformat(), "run_id": run_id, "files": _describe(scratch), **facts}
            write_json(scratch / MANIFEST, manifest)
            shutil.rmtree(final, ignore_errors=True)
            scratch.rename(final)
            sync_folder(parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    pointer = {"date": date.isoformat(), "run_id": run_id}
    write_json(parent / POINTER, pointer)
    current = _readable(workspace, workspace.root / POINTER)
    if current is None or current.date <= date:
        write_json(workspace.root / POINTER, pointer)
    return final / TABLE


def _describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and hash of every Parquet file; some at a time, since disks and hashing leave Python free."""
    paths = sorted(folder.rglob("*.parquet"))
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        hashes = pool.map(sha256_file, paths)
        return {
            str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": digest}
            for path, digest in zip(paths, hashes, strict=True)
        }


def latest_published(workspace: Workspace, required: bool = True) -> Published | None:
    """The run that `latest.json` points to; None (or PublishError if `required`) when nothing is published yet."""
    return _resolve(workspace, workspace.root / POINTER, required)


def published_before(workspace: Workspace, date: dt.date) -> Published | None:
    """The newest published run of an earlier date: where tonight's vocabulary continues from."""
    folder = workspace.root / "published"
    dates = sorted((path.name for path in folder.glob("????-??-??") if path.name < date.isoformat()), reverse=True)
    for name in dates:
        found = _readable(workspace, folder / name / POINTER)
        if found is not None:
            return found
    return None


def _readable(workspace: Workspace, pointer_path: Path) -> Published | None:
    """What a pointer names, or None: a run that retention removed must not stop tonight's."""
    try:
        return _resolve(workspace, pointer_path, required=False)
    except PublishError as error:
        log.warning("ignored: %s", error.problem)
        return None


def _resolve(workspace: Workspace, pointer_path: Path, required: bool) -> Published | None:
    try:
        pointer = read_json(pointer_path)
        date = dt.date.fromisoformat(pointer["date"])
        folder = workspace.root / "published" / date.isoformat() / str(pointer["run_id"])
        return Published(date, str(pointer["run_id"]), folder, read_json(folder / MANIFEST))
    except FileNotFoundError as error:
        if not required and not pointer_path.exists():
            return None
        raise PublishError(
            f"{pointer_path}: nothing is published here ({error.filename} is missing).",
            "Run `kdspark run` or `kdspark publish` first.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{pointer_path}: damaged pointer ({error}).", "Publish again.") from error
