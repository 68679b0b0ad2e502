"""What of `privacy` decides a night's tables: part of stage prepare's settings, and so of its key."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyspark.sql.types import DataType

from kdspark.config import Config, IdListConfig
from kdspark.errors import StageError
from kdspark.spark.sources import SourceFile, list_files
from kdspark.spark.withheld import Withheld
from kdspark.stages.stage import Night
from kdspark.workspace import ErasedUsers, read_json

KEY = "privacy"
EVENTS = ("erased", "noted", "sensitive_items", "pseudonyms")
"""What decides which events are read, and under which names."""


def settings(night: Night) -> dict[str, Any]:
    """{"privacy": ...}: files of the lists, digests of what `kdspark erase` has noted and of the key of pseudonyms; no
    id, no key. Empty where nothing is left out and nobody renamed."""
    config = night.config.privacy
    lists = _lists(night.config)
    found: dict[str, Any] = {name: [asdict(file) for file in list_files(night.spark, lists[name])] for name in lists}
    if noted := ErasedUsers(night.workspace.root).fingerprint():
        found["noted"] = noted
    if config.pseudonyms is not None:
        found["pseudonyms"] = config.pseudonyms.fingerprint()
    if config.min_users_per_item > 1:
        found["min_users_per_item"] = config.min_users_per_item
    return {KEY: found} if found else {}


def withheld_of(night: Night, settings: Mapping[str, Any]) -> Withheld | None:
    """What the night leaves out, as its settings pin it; None for nothing.

    Args:
        settings: of stage prepare.
    """
    found, config = settings.get(KEY, {}), night.config.privacy
    if not any(name in found for name in EVENTS):
        return None
    noted = ErasedUsers(night.workspace.root)
    lists: dict[str, tuple[IdListConfig, list[SourceFile]]] = {
        name: (source, [SourceFile(**file) for file in found[name]]) for name, source in _lists(night.config).items()
    }
    erases = "erased" in found or "noted" in found
    return Withheld(
        night.spark,
        erased=lists.get("erased"),
        noted=noted.path if "noted" in found else None,
        noted_key=noted.key() if erases else b"",
        sensitive=lists.get("sensitive_items"),
        pseudonym_key=None if config.pseudonyms is None else config.pseudonyms.key(),
    )


def check_names(night: Night, previous: Path | None) -> None:
    """Check that users have the names that the last published night gave them.

    Raises:
        StageError: it had no pseudonyms, or those of another key, and tonight's users would be strangers.
    """
    if previous is None:
        return
    config = night.config.privacy.pseudonyms
    now = None if config is None else config.fingerprint()
    if pseudonyms_of(previous) != now:
        raise StageError(
            f"{previous}: the last published night knew users by {'pseudonyms of another key' if now else 'pseudonyms'}"
            if pseudonyms_of(previous)
            else f"{previous}: the last published night knew users by their ids, and tonight has `privacy.pseudonyms`.",
            "Configure `privacy.pseudonyms` as it was, or start a new --root.",
        )


def pseudonyms_of(prepared: Path) -> str | None:
    """Fingerprint of the key by which a prepare folder's users are named; None where they have their ids."""
    try:
        found = read_json(prepared / "manifest.json")["config"]["settings"].get(KEY, {}).get("pseudonyms")
    except (OSError, ValueError, KeyError):
        return None
    return None if found is None else str(found)


def logged_types(types: Mapping[str, DataType]) -> dict[str, str]:
    """Types of the logs' ids for a manifest: those of pseudonyms are others."""
    return {name: kind.simpleString() for name, kind in types.items()}


def _lists(config: Config) -> dict[str, IdListConfig]:
    lists = {"erased": config.privacy.erased, "sensitive_items": config.privacy.sensitive_items}
    return {name: source for name, source in lists.items() if source is not None}
