"""The columns of tonight's inputs against those of the last published night: a log that changed is no log to trust.

Only files that have come since are looked at. Spark gives a column that new files lack, and old ones have, as null: a
renamed id would be some bad rows among many good ones, and the night a night without its own day.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdspark.config import DataConfig, SourceConfig
from kdspark.errors import InputError
from kdspark.spark.sources import SourceFile, columns_of, read_source
from kdspark.stages.inputs import LOG, SIDES, sources_of
from kdspark.workspace import read_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("kdspark")

Columns = dict[str, str]
"""Column -> Spark type in simple words."""
_LETTERS = 80  # of a type in a message
_FEATURES = ("categorical", "multi_valued", "numeric", "dense")


@dataclass(frozen=True)
class Seen:
    """What the columns of the inputs are.

    Attributes:
        columns: input -> columns of its newest files; those inputs are left out that nothing was compared for.
        accepted: differences that were let pass, in words.
    """

    columns: dict[str, Columns]
    accepted: list[str]


def check_columns(
    data: DataConfig,
    previous: Path | None,
    files: Mapping[str, list[dict[str, Any]]],
    reading: Callable[[SourceConfig, list[SourceFile]], Columns],
    accept: bool,
) -> Seen:
    """Compare every input's new files with last night's columns; what nobody uses is only warned of.

    Args:
        previous: output of the last published night's stage prepare; None for a first night, which compares nothing.
        files: of every input, as `listed_files` gives them.
        reading: tells names and types of the columns of some files.
        accept: whether columns that are used may have other types.

    Raises:
        InputError: a column that is used is gone, or has another type, and `accept` is false; with all differences.
    """
    seen = Seen({}, [])
    facts = _facts(previous)
    for name, source in sources_of(data).items():
        before = facts.get("schemas", {}).get(name)
        if before is None:
            continue
        known = {tuple(sorted(file.items())) for file in facts["files"].get(name, [])}
        fresh = [file for file in files[name] if file["bytes"] and tuple(sorted(file.items())) not in known]
        now = reading(source, [SourceFile(**file) for file in fresh]) if fresh else before
        seen.columns[name] = now
        seen.accepted.extend(_judge(source, _used(data, name), before, now, accept))
    return seen


def reading_columns(spark: "SparkSession") -> Callable[[SourceConfig, list[SourceFile]], Columns]:
    """What tells names and types of the columns of some files; of the same files it asks once."""
    known: dict[tuple[str, ...], Columns] = {}

    def read(source: SourceConfig, files: list[SourceFile]) -> Columns:
        paths = tuple(file.path for file in files if file.bytes)
        if paths not in known:
            known[paths] = columns_of(read_source(spark, source, files))
        return known[paths]

    return read


def differences(before: Columns, now: Columns, used: Mapping[str, str], inferred: bool = False) -> dict[str, list[str]]:
    """What is otherwise, in words: "lost" and "retyped" of the columns in use, "other" of the rest, "new".

    Args:
        used: column -> key of the configuration that names it.
        inferred: types were guessed from values, so that a number is a number, with a fraction or without.
    """

    def kind(text: str) -> str:
        return text.replace("bigint", "double") if inferred else text

    found: dict[str, list[str]] = {"lost": [], "retyped": [], "other": [], "new": []}
    for name, was in before.items():
        what = f"{name!r} (`{used[name]}`)" if name in used else repr(name)
        if name not in now:
            found["lost" if name in used else "other"].append(f"{what} was {was[:_LETTERS]} and is gone")
        elif kind(now[name]) != kind(was):
            text = f"{what} was {was[:_LETTERS]} and is {now[name][:_LETTERS]}"
            found["retyped" if name in used else "other"].append(text)
    found["new"] = [f"{name!r} {kind[:_LETTERS]} is new" for name, kind in now.items() if name not in before]
    return found


def _judge(source: SourceConfig, used: Mapping[str, str], before: Columns, now: Columns, accept: bool) -> list[str]:
    found = differences(before, now, used, inferred=source.format == "json")
    every = [text for texts in found.values() for text in texts]
    if not every:
        return []
    said = f"{', '.join(source.paths)}: the columns are not those of the last published night: {'; '.join(every)}"
    if found["lost"]:
        raise InputError(f"{said}.", "Correct the export, or the columns' names in the configuration.")
    if found["retyped"] and not accept:
        raise InputError(f"{said}.", "Correct the export, or accept the new types with `--accept-schema`.")
    log.warning("%-14s %s%s", "columns", said, " (accepted)" if found["retyped"] else "")
    return [f"{', '.join(source.paths)}: {text}" for text in found["retyped"]]


def _used(data: DataConfig, name: str) -> dict[str, str]:
    """Column -> key of the configuration, of those that an input is asked for."""
    side = getattr(data, name) if name in (side for side, *_ in SIDES) else None
    if side is not None:
        features = {column: f"data.{name}.{key}" for key in _FEATURES for column in getattr(side, key)}
        return {**features, side.id: f"data.{name}.id"}
    keys = ("user", "item", "timestamp", "weight") if name == LOG else ("user", "item")
    named = {getattr(data.columns, key): f"data.columns.{key}" for key in keys}
    return {column: key for column, key in named.items() if column is not None}


def _facts(previous: Path | None) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = {} if previous is None else read_json(previous / "manifest.json")["facts"]
    except (OSError, ValueError, KeyError):
        return {}
    return facts
