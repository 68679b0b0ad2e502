"""Whether a night goes on from the events of the last published one, and reads the files that have come since alone.

What comes out is what reading everything would give; where that cannot be promised, everything is read.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdspark import __version__
from kdspark.config import Config, DataConfig
from kdspark.spark.filters import can_drop
from kdspark.spark.nulls import Nulls
from kdspark.spark.sources import SourceFile
from kdspark.stages.privacy import EVENTS, KEY
from kdspark.workspace import read_json

log = logging.getLogger("kdspark")

LAYOUT = 3
"""Of the tables that a night goes on from; one of another layout cannot be."""
_EVENTS = {"interactions", "columns", "filters"}  # what decides which events a file holds


@dataclass(frozen=True)
class Increment:
    """Where a night goes on from.

    Attributes:
        folder: output of the last published night's stage prepare.
        counts, nulls: of the log that it had read, as in `Ingested`.
        files: files of the log that have come since.
        future_from: the first timestamp of an event that it left out since it lay after the night's end, or None.
    """

    folder: Path
    counts: dict[str, int]
    nulls: Nulls
    files: list[SourceFile]
    future_from: int | None


def increment_of(
    config: Config,
    previous: Path | None,
    files: list[dict[str, Any]],
    columns_of: Callable[[list[SourceFile]], dict[str, str]],
    end_us: int,
    privacy: Mapping[str, Any],
) -> Increment | None:
    """None where everything is to be read; the reason is logged.

    Args:
        previous: output of the last published night's stage prepare, or None for a first night.
        files: the log's, as `listed_files` gives them.
        columns_of: names and types of the columns of some files.
        end_us: end of the night, exclusive.
        privacy: what is left out tonight, as `privacy.settings` pins it.
    """
    if previous is None:
        return None
    try:
        manifest = read_json(previous / "manifest.json")
    except (OSError, ValueError):
        manifest = None
    obstacle = "the last published night's manifest is gone"
    if manifest is not None:
        obstacle = _others(manifest, privacy) or _obstacle(config.data, manifest, files, end_us) or _missing(previous)
    if manifest is not None and not obstacle:
        known = {file["path"] for file in manifest["facts"]["files"]["interactions"]}
        fresh = [SourceFile(**file) for file in files if file["path"] not in known]
        if columns_of(fresh) == manifest["facts"]["columns"]:
            counted = f"{len(fresh)} of {len(files)}"
            log.info("%-14s %s files of the log are new; its other events are known", "prepare", counted)
            facts = manifest["facts"]
            counts, nulls = (facts[name]["interactions"] for name in ("input", "nulls"))
            return Increment(previous, counts, nulls, fresh, facts["future_from"])
        obstacle = "the new files have other columns"
    log.info("%-14s all of the log is read: %s", "prepare", obstacle)
    return None


def _others(manifest: dict[str, Any], now: Mapping[str, Any]) -> str:
    """Whoever was erased since must not be in what is known, and whoever is no longer erased must be."""
    then = manifest["config"]["settings"].get(KEY, {})
    changed = any(then.get(name) != now.get(name) for name in EVENTS)
    return "other users are erased or other items sensitive than the last published night knew" if changed else ""


def _missing(previous: Path) -> str:
    gone = [name for name in ("interactions", "quarantine") if not (previous / name).is_dir()]
    return f"the last published night's table {gone[0]} is gone" if gone else ""


def _obstacle(data: DataConfig, manifest: dict[str, Any], files: list[dict[str, Any]], end_us: int) -> str:
    facts = manifest["facts"]
    if not data.incremental:
        return "`data.incremental` is off"
    if facts.get("layout") != LAYOUT or manifest["versions"]["kdspark"] != __version__:
        return "the last published night's tables are those of another version of kdspark"
    if data.split.kind == "provided":
        return "its split is provided"
    if can_drop(data.filters):
        return "what minimum weights or counts left out may count now"
    if facts["future_from"] is not None and facts["future_from"] < end_us:
        return "its files held events after the last published night's end, which count now"
    was, now = manifest["config"]["settings"]["data"], data.model_dump(mode="json")
    if changed := sorted(key for key in _EVENTS if was[key] != now[key]):
        return f"{', '.join(f'`data.{key}`' for key in changed)} changed"
    there = {file["path"]: file for file in files}
    old = facts["files"]["interactions"]
    if gone := [file["path"] for file in old if there.get(file["path"]) != file]:
        return f"{gone[0]} is gone or another file"
    known = {file["path"] for file in old}
    fresh = any(file["bytes"] for file in files if file["path"] not in known)
    return "" if fresh else "no file with rows has come since the last published night"
