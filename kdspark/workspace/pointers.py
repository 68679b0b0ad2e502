"""The small files that say which published run counts: `latest.json` for readers, and one of each date.

A pointer is replaced as a whole. Beside a run's date and id it may note that somebody went back to this run, or that it
was withdrawn.
"""

import datetime as dt
import json
from typing import Any

from kdspark.errors import PublishError
from kdspark.workspace.files import json_bytes
from kdspark.workspace.store import Store

PUBLISHED = "published"
"""Folder of all runs."""
LATEST = "latest.json"
"""Name of the readers' pointer, and below `published/<date>` of that date's."""
WITHDRAWN = "withdrawn"


def pointer_of(date: dt.date) -> str:
    """Name of a date's pointer."""
    return f"{PUBLISHED}/{date.isoformat()}/{LATEST}"


def read_pointer(store: Store, name: str) -> tuple[dt.date, str] | None:
    """Date and id of the run that a pointer names; None where there is no pointer.

    Raises:
        PublishError: it is damaged.
    """
    try:
        named = json.loads(store.read(name))
        return dt.date.fromisoformat(named["date"]), str(named["run_id"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(
            f"{store.url(name)}: damaged pointer ({error}).",
            "Point it to a whole run: `kdspark rollback --date …`; `kdspark runs` lists them.",
        ) from error


def is_withdrawn(store: Store, name: str) -> bool:
    """Whether a rollback went back behind the run that a pointer names."""
    return _content(store, name).get(WITHDRAWN) is True


def write_pointer(store: Store, name: str, date: dt.date, run_id: str, **note: bool) -> None:
    """Let a pointer name a run."""
    store.write(name, json_bytes({"date": date.isoformat(), "run_id": run_id, **note}))


def repoint(store: Store, date: dt.date, old: str, new: str) -> None:
    """Let the pointers that name a run of a date name another one of it; what they note stays."""
    for name in (LATEST, pointer_of(date)):
        named = _content(store, name)
        if (named.get("date"), named.get("run_id")) == (date.isoformat(), old):
            store.write(name, json_bytes({**named, "run_id": new}))


def _content(store: Store, name: str) -> dict[str, Any]:
    """Empty where the pointer is gone or damaged, which is for `read_pointer` to say."""
    try:
        found = json.loads(store.read(name))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
