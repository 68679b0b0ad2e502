"""A published run in the place of another: readers see the one or the other, whole, at any moment.

The new run is put under a name of its own, which says what it replaces; the pointers that name the old one are moved;
then the old one goes. Whoever dies in between leaves a new run that says so, and `finish` goes on from there.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdspark.workspace.pointers import repoint
from kdspark.workspace.published import Publication, Published

REPLACES = "replaces"
"""In a manifest: the id of the run that this one stands for."""
_OWN = ("date", "run_id", "files")  # of a manifest, what the copy has its own of
_NUMBERED = re.compile(r"-e\d+$")


def replace_run(publication: Publication, old: Published, table: Path, facts: Mapping[str, Any]) -> Published:
    """Put another table in the place of a run's, and move the pointers; the old run stays, until `delete`.

    The new run counts as published when the old one was.

    Args:
        table: folder of Parquet files, without anything else.
        facts: of the manifest, in place of the old run's.
    """
    base = _NUMBERED.sub("", old.run_id)
    taken = {run.run_id for run in publication.runs() if run.date == old.date}
    number = next(n for n in range(1, len(taken) + 2) if f"{base}-e{n}" not in taken)
    kept = {name: value for name, value in old.manifest.items() if name not in _OWN}
    run_id = f"{base}-e{number}"
    publication.put(old.date, run_id, table, {**kept, **facts, REPLACES: old.run_id})
    new = publication.run(old.date, run_id)
    repoint(publication.store, old.date, old.run_id, new.run_id)
    return new


def replaced(publication: Publication) -> list[tuple[Published, Published]]:
    """(old, new) of the runs that stand for others which are still there: somebody died before these went."""
    runs = {run.name: run for run in publication.runs()}
    found = []
    for run in runs.values():
        old = runs.get(replace(run, run_id=str(run.manifest.get(REPLACES))).name)
        if old is not None:
            found.append((old, run))
    return found
