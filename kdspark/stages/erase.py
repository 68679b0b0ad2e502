"""kdspark erase: users leave what is published and what later nights start from, for good; a receipt says so.

In this order: who is erased is noted, so that no later night reads them; published runs are replaced by runs without
them; stages are purged; the runs that were replaced go. Whatever is interrupted is done by the same command again.
"""

import datetime as dt
import logging
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kdspark import tables
from kdspark.config import PseudonymsConfig, load_config
from kdspark.errors import ConfigError, InputError
from kdspark.failpoints import reached
from kdspark.spark.keyed import pseudonym
from kdspark.spark.purging import as_ids, as_texts, column_type, copy_without, holds
from kdspark.stages.privacy import pseudonyms_of
from kdspark.stages.published import noted_place, published_in
from kdspark.stages.purge import Stages
from kdspark.stages.results import existing, session
from kdspark.workspace import ErasedUsers, Publication, Published, Workspace, exclusive, held, refuse_held, write_json
from kdspark.workspace.owners import owned
from kdspark.workspace.pointers import repoint
from kdspark.workspace.published import TABLE
from kdspark.workspace.replacing import replace_run, replaced

log = logging.getLogger("kdspark")


def erase(
    root: str, users: Sequence[str], file: str | None = None, config: str | None = None, grace_s: float = 0.0
) -> Path:
    """Erase users; returns the receipt.

    Args:
        users: their ids, as they are in the log.
        file: of more, one a line.
        config: of the nights, where users have pseudonyms.
        grace_s: seconds between the last pointer's move and the end of the runs that it named: readers who have looked
            at the pointer before have as long to read them.

    Raises:
        InputError: an id is none of the log's type, or there is none.
        ConfigError: users have pseudonyms, and there is no `config` with their key.
        LeaseError: a night is running, or another erasure.
        StageError: a search is running.
    """
    workspace, ids = existing(root), [*users, *_lines(file)]
    if not ids:
        raise InputError("Nobody is named to be erased.", "Give --user or --users.")
    pseudonyms = None
    if config is not None:
        loaded = load_config(config)
        os.umask(loaded.privacy.mask)
        pseudonyms = loaded.privacy.pseudonyms
    with held(workspace.erasing, "Erasing users"), ExitStack() as stack:
        for lease in sorted((workspace.root / "leases").glob("[0-9]*.json")):
            refuse_held(lease, f"The night of {lease.stem} is being run")
        for folder in sorted((workspace.root / "search").glob("*/")):
            stack.enter_context(exclusive(folder / "lock", "A search"))
        workspace.remove_left()
        return _Erasure(workspace, pseudonyms).run(ids, grace_s)


class _Erasure:
    """One run of the command."""

    def __init__(self, workspace: Workspace, pseudonyms: PseudonymsConfig | None) -> None:
        self.workspace, self.pseudonyms = workspace, pseudonyms
        self.publication: Publication = published_in(workspace, noted_place(workspace), session)
        self.publication.remove_left()
        self.runs = self.publication.runs()
        self.stages = Stages(workspace, [run.manifest.get("stages", {}) for run in self.runs])
        began = dt.datetime.now(dt.timezone.utc)
        self.path = workspace.root / "receipts" / f"erase-{began:%Y%m%dT%H%M%S%f}.json"
        self.receipt: dict[str, Any] = {"started": began.isoformat(timespec="seconds"), "finished": None}

    def run(self, given: Sequence[str], grace_s: float) -> Path:
        ids = self._ids(given)
        texts = as_texts(ids)
        digests = ErasedUsers(self.workspace.root).add(texts)
        self._note(users=len(digests), digests=sorted(digests), runs=[], stages=[])
        reached("erase.noted")
        old = []
        for before, after in replaced(self.publication):  # by a run that was interrupted
            repoint(self.publication.store, before.date, before.run_id, after.run_id)
            old.append(before)
        old += [run for run in self.runs if run.name not in {one.name for one in old} and self._replace(run, ids)]
        reached("erase.published")
        for purged in self.stages.purge(ids):
            self._note(stages=[*self.receipt["stages"], asdict(purged)])
            reached(f"erase.{purged.folder.split('/')[-2]}")
        reached("erase.purged")
        if old:
            time.sleep(grace_s)
        for run in old:
            self.publication.delete(run)
        reached("erase.deleted")
        self._note(finished=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"))
        log.info(
            "%-14s %d users: %d published runs replaced, %d stages purged -> %s",
            *("erased", len(digests), len(old), len(self.receipt["stages"]), self.path),
        )
        return self.path

    def _replace(self, run: Published, ids: pa.Array) -> bool:
        """Put a run without these users in its place; whether there was one to replace."""
        scratch = self.workspace.root / "stages" / "erase" / owned(f"staging-{run.run_id}")
        try:
            self.publication.store.fetch(f"{run.name}/{TABLE}", scratch / "before")
            typed = ids.cast(column_type(scratch / "before", tables.USER_ID))
            files = sorted((scratch / "before").glob("*.parquet"))
            if not any(holds(path, tables.USER_ID, typed) for path in files):
                return False
            rows = copy_without(scratch / "before", tables.USER_ID, typed, scratch / "after")
            users = run.manifest.get("users", 0) - self._users(scratch / "before", typed)
            facts = {"rows": run.manifest.get("rows", 0) - rows, "users": users, "erased_at": self.receipt["started"]}
            with self.workspace.pointing():
                new = replace_run(self.publication, run, scratch / "after", facts)
            hashes = {
                name: {"before": run.manifest["files"].get(name, {}).get("sha256"), "after": entry["sha256"]}
                for name, entry in new.manifest["files"].items()
            }
            entry = {"before": run.name, "after": new.name, "rows": rows, "files": hashes}
            self._note(runs=[*self.receipt["runs"], entry])
            reached("erase.replaced")
            return True
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):
                scratch.parent.rmdir()

    @staticmethod
    def _users(folder: Path, ids: pa.Array) -> int:
        found = ds.dataset(folder, format="parquet").to_table([tables.USER_ID], pc.field(tables.USER_ID).isin(ids))
        return len(pc.unique(found.column(0)))

    def _ids(self, given: Sequence[str]) -> pa.Array:
        """What ROOT's tables call these users; text where nothing was made yet."""
        prepared = self.stages.prepared
        named = {pseudonyms_of(folder) for folder in prepared} - {None}
        key = None if self.pseudonyms is None else self.pseudonyms.fingerprint()
        if named - {key}:
            raise ConfigError(
                "Users have pseudonyms here, and their key is not given.",
                "Give the nights' --config, whose `privacy.pseudonyms` names it.",
            )
        if self.pseudonyms is not None:
            return pa.array([pseudonym(text, self.pseudonyms.key()) for text in given], pa.string())
        kind = column_type(prepared[-1] / "user_ids", tables.USER_ID) if prepared else pa.string()
        return as_ids(list(dict.fromkeys(given)), kind)

    def _note(self, **facts: Any) -> None:
        """The receipt is whole at any moment, and says whether the work is."""
        self.receipt.update(facts)
        write_json(self.path, self.receipt)


def _lines(file: str | None) -> list[str]:
    if file is None:
        return []
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text.", "Give a file with an id a line, in UTF-8.") from error
    return [line for line in lines if line.strip()]
