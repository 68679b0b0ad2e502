"""Whether a night goes on from the events of the last published one, and reads the files that have come since alone.

What comes out is what reading everything would give; where that cannot be promised, everything is read.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdspark import __version__
from kdspark.config import Config, DataConfig
from kdspark.spark.filters import drops_rare
from kdspark.spark.sources import SourceFile
from kdspark.workspace import read_json

log = logging.getLogger("kdspark")

LAYOUT = 2
"""Of the tables that a night goes on from; one of another layout cannot be."""
_EVENTS = {"interactions", "columns", "filters"}  # what decides which events a file holds


@dataclass(frozen=True)
class Increment:
    """Where a night goes on from.

    Attributes:
        folder: output of the last published night's stage prepare.
        counts: rows of the log that it had read, as `Ingested.counts`.
        files: files of the log that have come since.
    """

    folder: Path
    counts: dict[str, int]
    files: list[SourceFile]


def increment_of(config: Config, previous: Path | None, files: list[dict[str, Any]]) -> Increment | None:
    """None where everything is to be read; the reason is logged.

    Args:
        previous: output of the last published night's stage prepare, or None for a first night.
        files: the log's, as `listed_files` gives them.
    """
    if previous is None:
        return None
    manifest = read_json(previous / "manifest.json")
    obstacle = _obstacle(config.data, manifest, files)
    if obstacle:
        log.info("%-14s all of the log is read: %s", "prepare", obstacle)
        return None
    known = {file["path"] for file in manifest["facts"]["files"]["interactions"]}
    fresh = [SourceFile(**file) for file in files if file["path"] not in known]
    log.info("%-14s %d of %d files of the log are new; its other events are known", "prepare", len(fresh), len(files))
    return Increment(previous, manifest["facts"]["input"]["interactions"], fresh)


def _obstacle(data: DataConfig, manifest: dict[str, Any], files: list[dict[str, Any]]) -> str | None:
    facts = manifest["facts"]
    if not data.incremental:
        return "`data.incremental` is off"
    if facts.get("layout") != LAYOUT or manifest["versions"]["kdspark"] != __version__:
        return "the last published night's tables are those of another version of kdspark"
    if data.split.kind == "provided":
        return "its split is provided"
    if drops_rare(data.filters):
        return "an event that minimum counts left out may stay now"
    if facts["input"]["interactions"]["future"]:
        return "its files held events after the last published night's end, which may count now"
    was, now = manifest["config"]["settings"]["data"], data.model_dump(mode="json")
    if changed := sorted(key for key in _EVENTS if was[key] != now[key]):
        return f"{', '.join(f'`data.{key}`' for key in changed)} changed"
    there = {file["path"]: file for file in files}
    old = facts["files"]["interactions"]
    if gone := [file["path"] for file in old if there.get(file["path"]) != file]:
        return f"{gone[0]} is gone or another file"
    return None if len(files) > len(old) else "no file has come since the last published night"
