"""Publishing: a finished folder becomes visible at once, by replacing one small pointer file.

Readers resolve the pointer once and then read a folder that never changes again. A run is put under a name that nobody
reads, described in a manifest with the size and hash of every file, and renamed; then `latest.json` is replaced, and
after it the pointer of its date, which says that the date is done. A process that dies in between leaves `latest.json`
at a whole run, the old one or the new one, and the next try goes on from there. A run of an older date than the latest
is recorded for its date, and does not move `latest.json` back.
"""

import contextlib
import datetime as dt
import itertools
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdspark.errors import PublishError
from kdspark.failpoints import reached
from kdspark.workspace.files import difference, hashed, json_bytes, sealed, unsealed
from kdspark.workspace.manifest import MANIFEST
from kdspark.workspace.owners import is_left, owned
from kdspark.workspace.paths import RUN_ID
from kdspark.workspace.pointers import LATEST, PUBLISHED, is_withdrawn, pointer_of, read_pointer, write_pointer
from kdspark.workspace.store import Store

log = logging.getLogger("kdspark")

TABLE = "recommendations"
_STAGING = "staging-"


@dataclass(frozen=True)
class Published:
    """A published run: its date, id, folder's name in the store, and manifest."""

    date: dt.date
    run_id: str
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return _run(self.date, self.run_id)

    @property
    def at(self) -> str:
        """When it was published: UTC, ISO 8601."""
        return str(self.manifest.get("published", ""))


class Publication:
    """The published runs in a store.

    Args:
        store: `published/`, and the pointer beside it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def url(self, run: Published) -> str:
        """The recommendations of a run; `spark.read.parquet` of it works."""
        return self.store.url(f"{run.name}/{TABLE}")

    def publish(
        self,
        date: dt.date,
        run_id: str,
        table: Path,
        facts: Mapping[str, Any],
        known: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Published:
        """Put a table into the store, and move the pointers; a whole run of this id that is there is used.

        Args:
            table: folder of Parquet files; left as it is.
            facts: recorded in the manifest beside files, sizes and hashes (rows, model version, stage folders, …).
            known: the table's files, as `described` when the table was made.

        Raises:
            PublishError: a file is not what was judged.
        """
        final = _run(date, run_id)
        if not self.store.exists(f"{final}/{MANIFEST}"):
            self.put(date, run_id, table, facts, known)
        reached("publish.renamed")
        run = self.run(date, run_id)
        current = self._readable(LATEST)
        if current is None or current.date <= date:
            self._point(LATEST, run)
        reached("publish.latest")
        self._point(pointer_of(date), run)
        reached("publish.done")
        return run

    def latest(self) -> Published:
        """The run that `latest.json` points to.

        Raises:
            PublishError: nothing is published, or what is cannot be read.
        """
        found = self._resolve(LATEST)
        if found is None:
            raise PublishError(
                f"{self.store.url(LATEST)}: nothing is published here.",
                "Run `kdspark run` or `kdspark publish` first.",
            )
        return found

    def of(self, date: dt.date) -> Published | None:
        """The run that counts for a date: the one that was published last, or rolled back to."""
        return self._readable(pointer_of(date))

    def before(self, date: dt.date) -> Published | None:
        """The newest published run of an earlier date: where tonight's vocabulary continues from."""
        return next(iter(self.earlier(date, 1)), None)

    def earlier(self, date: dt.date, most: int) -> list[Published]:
        """The runs that count for earlier dates and are not withdrawn, the latest date first, so many at most."""
        pointers = [pointer_of(earlier) for earlier in reversed(self._dates()) if earlier < date]
        found = (self._readable(pointer) for pointer in pointers if not is_withdrawn(self.store, pointer))
        return list(itertools.islice((run for run in found if run is not None), most))

    def withdrawn(self, date: dt.date) -> bool:
        """Whether a rollback went back behind this date: no later night goes on from it, or is compared with it."""
        return is_withdrawn(self.store, pointer_of(date))

    def run(self, date: dt.date, run_id: str) -> Published:
        """A run by its id.

        Raises:
            PublishError: there is none, or its manifest cannot be read.
        """
        if not RUN_ID.fullmatch(run_id):
            raise PublishError(f"{run_id!r} is no id of a run.", "`kdspark runs` lists them.")
        name = f"{_run(date, run_id)}/{MANIFEST}"
        try:
            return Published(date, run_id, unsealed(json.loads(self.store.read(name))))
        except FileNotFoundError as error:
            raise PublishError(
                f"{self.store.url(name)} is missing: there is no such published run.", "`kdspark runs` lists them."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PublishError(
                f"{self.store.url(name)}: damaged manifest ({error}).", "Roll back to another run: `kdspark rollback`."
            ) from error

    def runs(self) -> list[Published]:
        """All whole runs, in the order in which they were published; a damaged one is left out, loudly."""
        found = []
        for date in self._dates():
            for run_id in self.store.folders(f"{PUBLISHED}/{date}"):
                if not run_id.startswith(_STAGING):
                    try:
                        found.append(self.run(date, run_id))
                    except PublishError as error:
                        log.warning("ignored: %s", error.problem)
        return sorted(found, key=lambda run: (run.at, run.date, run.run_id))

    def roll_back(self, run: Published) -> None:
        """Point to a run, whatever is newer; later dates are withdrawn. The next night moves `latest.json` on again."""
        self._point(LATEST, run, rolled_back=True)
        self._point(pointer_of(run.date), run, rolled_back=True)
        for date in self._dates():
            later = self.of(date) if date > run.date else None
            if later is not None:
                self._point(pointer_of(date), later, withdrawn=True)

    def damage(self, run: Published) -> list[str]:
        """What is wrong with a run's files; empty if every size and hash is as it was."""
        sizes = self.store.files(run.name)
        sizes.pop(MANIFEST, None)
        return difference(run.manifest["files"], self._described(run.name, sizes))

    def delete(self, run: Published) -> None:
        """Remove a run that nothing points to; its manifest first, without which it is none."""
        scratch = f"{PUBLISHED}/{run.date}/{owned(_STAGING + run.run_id)}"
        self.store.rename(run.name, scratch)
        self.store.delete(scratch)
        if not self.store.folders(f"{PUBLISHED}/{run.date}"):
            self.store.delete(f"{PUBLISHED}/{run.date}")

    def remove_left(self) -> None:
        """Remove what processes that are gone have not finished."""
        for date in self._dates():
            for name in self.store.folders(f"{PUBLISHED}/{date}"):
                if name.startswith(_STAGING) and is_left(Path(self.store.url(f"{PUBLISHED}/{date}/{name}"))):
                    self.store.delete(f"{PUBLISHED}/{date}/{name}")

    def put(
        self,
        date: dt.date,
        run_id: str,
        table: Path,
        facts: Mapping[str, Any],
        known: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Put a table into the store as `publish` does, and leave the pointers where they are."""
        scratch = f"{PUBLISHED}/{date}/{owned(_STAGING + run_id)}"
        try:
            self.store.put(table, f"{scratch}/{TABLE}")
            reached("publish.copied")
            files = self._described(scratch, self.store.files(scratch))
            judged = files if known is None else {f"{TABLE}/{name}": entry for name, entry in known.items()}
            if wrong := difference(judged, files):
                raise PublishError(
                    f"{table}: the files have changed since they were judged ({wrong[0]}). Nothing was published.",
                    "Run the night again; if it comes back, look for what writes there.",
                )
            now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="microseconds")
            manifest = {"date": date.isoformat(), "run_id": run_id, "published": now, "files": files, **facts}
            self.store.write(f"{scratch}/{MANIFEST}", json_bytes(sealed(manifest)))
            reached("publish.manifest")
            if self.store.exists(_run(date, run_id)):  # without a manifest: no run
                self.store.delete(_run(date, run_id))
            self.store.rename(scratch, _run(date, run_id))
        finally:
            self.store.delete(scratch)

    def _described(self, folder: str, sizes: dict[str, int]) -> dict[str, dict[str, Any]]:
        return hashed(sizes, lambda name: self.store.sha256(f"{folder}/{name}"))

    def _point(self, pointer: str, run: Published, **note: bool) -> None:
        write_pointer(self.store, pointer, run.date, run.run_id, **note)

    def _dates(self) -> list[dt.date]:
        found = []
        for name in self.store.folders(PUBLISHED):
            with contextlib.suppress(ValueError):
                found.append(dt.date.fromisoformat(name))
        return sorted(found)

    def _readable(self, pointer: str) -> Published | None:
        """What a pointer names, or None: a run that is gone must not stop tonight's."""
        try:
            return self._resolve(pointer)
        except PublishError as error:
            log.warning("ignored: %s", error.problem)
            return None

    def _resolve(self, pointer: str) -> Published | None:
        named = read_pointer(self.store, pointer)
        return None if named is None else self.run(*named)


def _run(date: dt.date, run_id: str) -> str:
    return f"{PUBLISHED}/{date.isoformat()}/{run_id}"
