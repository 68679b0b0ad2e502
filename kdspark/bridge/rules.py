"""A night's rules on their way to the workers: as a file what they say of items, in rows what they say of users."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pyspark import SparkFiles
from safetensors.numpy import load_file, save_file

from kdspark.bridge.rule_tables import RuleTables
from kdspark.config import RulesConfig
from kdspark.ranking.rules import Caps, Diversity, Rules
from kdspark.spark.files import ship_file
from kdspark.spark.sources import SourceFile
from kdspark.spark.withheld import Withheld

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_FILES = ("rules.safetensors", "rules.json")


@dataclass(frozen=True)
class ShippedRules:
    """Rules known to every worker by the names of files, and what they say of users (`spark.rule_users`)."""

    names: tuple[str, ...]
    by_user: "DataFrame | None"


def compile_rules(
    spark: "SparkSession",
    config: RulesConfig,
    files: Mapping[str, list[SourceFile]],
    prepared: Path,
    n_events_N: npt.NDArray[np.int64],
    end_us: int,
    out: Path,
    withheld: Withheld | None = None,
) -> ShippedRules:
    """Read all tables, and send what they say of items to the executors.

    Args:
        files: of each table in `config.tables`.
        prepared: folder of the tables "item_ids" and "user_ids".
        n_events_N: of every item, by which lists are filled where the model cannot, and the configuration does not say.
        end_us: end of the night, when lists begin to be read.
        out: folder for the files.
        withheld: what the tables' rows are left out of, and under which names users are known.

    Raises:
        InputError: a table cannot be read, has rows that cannot be used, or leaves nothing to recommend.
    """
    out.mkdir(parents=True)
    read = RuleTables(spark, config, files, prepared, len(n_events_N), out, withheld)
    rules = read.arrays(n_events_N, end_us)
    save_file(rules, str(out / _FILES[0]))
    settings = {"diversity": config.diversity.model_dump() if config.diversity else None}
    (out / _FILES[1]).write_text(json.dumps(settings))
    return ShippedRules(tuple(ship_file(spark, out / name) for name in _FILES), read.by_user())


def load_rules(names: tuple[str, ...]) -> Rules:
    """In a worker."""
    arrays, settings = load_file(SparkFiles.get(names[0])), json.loads(Path(SparkFiles.get(names[1])).read_text())
    diversity = Diversity(**settings["diversity"]) if settings["diversity"] else None
    pairs = arrays["cap_items"], arrays["cap_groups"]
    caps = Caps.of(len(arrays["allowed_N"]), pairs, arrays["most_G"], arrays["soft_G"])
    named = ("allowed_N", "withheld_NX", "boosts_NZ", "backfill_N", "segments_SX", "weights_SZ")
    return Rules(caps=caps, diversity=diversity, **{name: arrays[name] for name in named})
