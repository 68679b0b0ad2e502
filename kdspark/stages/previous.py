"""What the last published night left for tonight's stage prepare: ids that are never renumbered, codes, and events.

A published run names the folder. Its files are compared with their hashes before any of them is gone on from.
"""

import logging
from pathlib import Path

from kdspark.errors import StageError
from kdspark.stages.stage import Night
from kdspark.workspace import Manifest

log = logging.getLogger("kdspark")

_STAGE = "prepare"
_VOCABULARY = ("user_ids", "item_ids", "user_codes", "item_codes")
_EVENTS = ("interactions", "quarantine")


def previous(night: Night) -> Manifest | None:
    """The stage prepare behind the last published night before this one; None before the first.

    Raises:
        StageError: its folder is gone, or its manifest damaged.
    """
    published = night.publication.before(night.date)
    if published is None:
        return None
    name = str(published.manifest["stages"][_STAGE])
    manifest = night.workspace.manifest_in(_STAGE, name)
    if manifest is None:
        raise StageError(
            f"{night.workspace.root / 'stages' / _STAGE / name}: the ids of the last published night "
            f"({published.date}) are gone, and ids are never renumbered.",
            "Restore this folder, or start a new --root.",
        )
    return manifest


def folder_of(night: Night, manifest: Manifest) -> Path:
    """Its output, whose ids and codes are whole.

    Raises:
        StageError: they are damaged.
    """
    folder = night.workspace.stage_folder(_STAGE, manifest.key)
    if damage := night.workspace.damage(manifest, _VOCABULARY):
        raise StageError(
            f"{folder}: damaged: {damage[0]}; these are the ids of the last published night, which are never "
            "renumbered.",
            "Restore this folder, or start a new --root.",
        )
    return folder


def events_are_whole(night: Night, manifest: Manifest) -> bool:
    """Whether its events can be gone on from; where they are damaged, which is logged, all of the log is to be read."""
    damage = night.workspace.damage(manifest, _EVENTS)
    if damage:
        log.warning("%-14s all of the log is read: the last published night's are damaged: %s", _STAGE, damage[0])
    return not damage
