"""prepare: raw logs -> ids, interactions with split, pairs seen, feature tables, training examples, quarantine.

Feature tables come in two scopes: `train`, from train events alone, for everything that is trained or evaluated; and
`full`, from every event before the night's end, for tonight's lists.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, TypeVar

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.prepared import FEATURES_FILE, splits_of
from kdspark.config import Config
from kdspark.errors import ConfigError
from kdspark.spark.arrow_files import write_from_workers
from kdspark.spark.examples import positions_of, sequences_of
from kdspark.spark.features import (
    Clock,
    build_items,
    build_users,
    count_items,
    fit_behaviour,
    item_counts,
    without_rare,
)
from kdspark.spark.filters import can_drop, deduplicate, drop_rare, drops_rare, heavy_enough
from kdspark.spark.histories import read_histories
from kdspark.spark.ingest import Ingested
from kdspark.spark.io import read_table, training_files, uri, write_table
from kdspark.spark.order import by_user
from kdspark.spark.side import Static, build_static
from kdspark.spark.side_table import SideTable
from kdspark.spark.sources import SourceFile, columns_of, read_source
from kdspark.spark.split import check_split, split_events
from kdspark.spark.user_files import laid_out
from kdspark.stages import privacy
from kdspark.stages.increment import LAYOUT, increment_of
from kdspark.stages.inputs import LOG, SIDES, listed_files, read_logs, read_sides
from kdspark.stages.stage import Night, Outcome, Scope, Stage, Task
from kdspark.stages.vocabularies import ids_table, previous_of, vocabulary
from kdspark.workspace import Manifest, write_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_T = TypeVar("_T")
NAME = "prepare"
_EVENTS_PER_FILE = 1_000_000
_DAY_US = 86_400 * 1_000_000
_ITEMS = "counted_items"
_SCOPES: tuple[Scope, ...] = ("train", "full")


def check_lists_fit(config: Config, manifest: Manifest) -> None:
    """Raise ConfigError if a list is asked for that is longer than the catalogue."""
    catalogue = int(manifest.facts["catalogue"])
    wanted = {"scoring.k": config.scoring.k, "evaluation.ks": max(config.evaluation.ks)}
    for key, k in wanted.items():
        if k > catalogue:
            raise ConfigError(
                f"`{key}`: {k} is larger than the catalogue of {catalogue} items with training events.",
                "Ask for shorter lists, or bring a larger log.",
            )


def _settings(night: Night) -> object:
    previous = previous_of(night)
    return {
        "date": night.date.isoformat(),
        "data": night.config.data.model_dump(mode="json"),
        "refit": night.config.refit,
        "files": listed_files(night),
        "previous": previous.name if previous else None,
        **privacy.settings(night),
    }


def _build(task: Task) -> Outcome:
    builder = _Builder(task)
    try:
        return builder.build()
    finally:
        shutil.rmtree(builder.scratch, ignore_errors=True)


class _Builder:
    """One run of the stage: its folders, session and row counts."""

    def __init__(self, task: Task) -> None:
        self.night, self.out = task.night, task.out
        self.spark, self.data = task.night.spark, task.night.config.data
        self.scratch = task.out / "scratch"
        self.files: list[dict[str, Any]] = task.settings["files"][LOG]
        self.previous = previous_of(task.night)
        privacy.check_names(task.night, self.previous)
        self.withheld = privacy.withheld_of(task.night, task.settings)
        known = (task.night.config, self.previous, self.files, self._columns_of, task.night.end_us)
        self.increment = increment_of(*known, task.settings.get(privacy.KEY, {}))
        self.rows: dict[str, int] = {}
        ordinal = self.data.columns.timestamp is None or self.data.columns.timestamp_unit == "ordinal"
        self.clock = Clock(None if ordinal else self.night.end_us)

    def build(self) -> Outcome:
        logs = read_logs(self.night, self.scratch, self.files, self.increment, self.withheld)
        filters = self.data.filters
        events = {name: heavy_enough(log.events, filters) for name, log in logs.items()}
        if drops_rare(filters):
            events[LOG] = drop_rare(deduplicate(events[LOG], filters), filters)
        self.id_types = logs[LOG].id_types
        sides = read_sides(self.night, self.id_types, self.scratch, self.withheld)
        read: dict[str, Ingested | SideTable] = {**logs, **sides}
        bad = [source.quarantine.withColumn(tables.INPUT, F.lit(name)) for name, source in read.items()]
        self._write(reduce(lambda a, b: a.unionByName(b), [*bad, *self._known("quarantine")]), "quarantine")
        rows = {side: table.rows for side, table in sides.items()}
        _at_once(*(partial(self._write_ids, events, rows.get(side), *names) for side, *names in SIDES))
        splits = self._write_interactions(events, sum(log.counts["good"] for log in logs.values()))
        if can_drop(filters):
            self._write_seen(logs)
        self._write_histories()
        statics = _at_once(*(partial(self._static, side, idx_name, rows.get(side)) for side, idx_name, _ in SIDES))
        static = {side: found for (side, *_), found in zip(SIDES, statics, strict=True)}
        catalogue = self._write_features(static, splits)
        files = {name: [asdict(file) for file in source.files] for name, source in read.items()}
        late = [logs[LOG].future_from, self.increment.future_from if self.increment else None]
        facts = {
            "catalogue": catalogue,
            "splits": splits,
            "input": {name: source.counts for name, source in read.items()},
            "files": {**files, LOG: self.files},
            "columns": logs[LOG].columns,
            "id_types": privacy.logged_types(self.id_types),
            "day_events": self._day_events(),
            "future_from": min((ts for ts in late if ts is not None), default=None),
            "layout": LAYOUT,
        }
        return Outcome(rows=self.rows, facts=facts)

    def _write_ids(self, events: "dict[str, DataFrame]", side: "DataFrame | None", idx_name: str, id_name: str) -> None:
        frames = [*events.values(), *([side] if side is not None else [])]
        found = vocabulary(
            *(self.spark, frames, idx_name, id_name),
            *(self.previous, self.scratch, self.withheld, self.id_types),
        )
        self._write(found, ids_table(id_name))

    def _write_interactions(self, events: "dict[str, DataFrame]", rows: int) -> dict[str, int]:
        """All events of a user in one file, latest first: what follows reads whole users, file by file."""
        indexed = {name: self._indexed(frame) for name, frame in events.items()}
        if self.data.split.kind == "provided":
            given = {LOG: tables.TRAIN, "valid": tables.VALID, "test": tables.TEST}
            indexed = {name: frame.withColumn(tables.SPLIT, F.lit(given[name])) for name, frame in indexed.items()}
        files = max(4, -(-rows // _EVENTS_PER_FILE))
        # The one shuffle: what is grouped by user and item, or ordered by user, needs no other.
        known = [frame.drop(tables.SPLIT) for frame in self._known("interactions")]
        events_now = reduce(lambda a, b: a.unionByName(b), [*indexed.values(), *known])
        shuffled = events_now.repartition(files, tables.USER_IDX)
        once = deduplicate(shuffled, self.data.filters)
        self._write(
            by_user(split_events(once, self.data.split, self.night.config.seed, self.night.end_us)), "interactions"
        )
        count_items(self._table("interactions")).write.parquet(uri(self.scratch / _ITEMS))
        counted = self._scratch(_ITEMS).groupBy(tables.SPLIT).agg(F.sum(tables.N_EVENTS).alias("n")).collect()
        counts = dict.fromkeys(tables.SPLITS, 0)
        counts |= {row[tables.SPLIT]: int(row["n"]) for row in counted}
        check_split(counts, self.data.split)
        return counts

    def _write_seen(self, logs: dict[str, Ingested]) -> None:
        """What users of the vocabulary did with items of it, whether or not a filter kept the event."""
        pairs = [log.events.select(tables.USER_ID, tables.ITEM_ID) for log in logs.values()]
        indexed = self._with_idx(reduce(lambda a, b: a.unionByName(b), pairs))
        # The ids are among what is distinct: rows that a join has shuffled by one of them need no other shuffle.
        self._write(indexed.distinct(), "seen")

    def _indexed(self, events: "DataFrame") -> "DataFrame":
        return self._with_idx(events).select(tables.USER_IDX, tables.ITEM_IDX, tables.TS, tables.WEIGHT)

    def _with_idx(self, events: "DataFrame") -> "DataFrame":
        with_users = events.join(self._table("user_ids"), tables.USER_ID)
        return with_users.join(self._table("item_ids"), tables.ITEM_ID)

    def _write_histories(self) -> None:
        length = self.data.features.history_length
        for scope in _SCOPES:
            histories = read_histories(self.spark, self.out / "interactions", splits_of(scope), length)
            histories.write.parquet(uri(self.scratch / f"histories_{scope}"))

    def _static(self, side: str, idx_name: str, frame: "DataFrame | None") -> Static:
        id_name = tables.USER_ID if side == "users" else tables.ITEM_ID
        codes = f"{side[:-1]}_codes"
        known = read_table(self.spark, self.previous / codes) if self.previous else None
        trained = self._scratch("histories_train") if side == "users" else self._item_counts("train")
        config = getattr(self.data, side)
        vocabulary = self._table(ids_table(id_name))

        def write_codes(frame: "DataFrame") -> "DataFrame":
            self._write(frame, "feature_codes", codes)
            return self._table(codes)

        trained = trained.select(idx_name)
        static = build_static(frame, config, self.data.features, vocabulary, trained, known, write_codes)
        static.table.write.parquet(uri(self.scratch / side))
        return static

    def _write_features(self, static: dict[str, Static], splits: dict[str, int]) -> int:
        users, items = self._scratch("users"), self._scratch("items")
        behaviour = fit_behaviour(self._item_counts("train"), self.clock)
        for scope in _SCOPES:
            table = build_users(
                self._scratch(f"histories_{scope}"), users, self.data.features.history_length, self.clock
            )
            there = table.filter(F.col(tables.USER_ID).isNotNull())  # who was erased has a number, and nothing else
            self._write(laid_out(there, self.rows["user_ids"]), "users", f"users_{scope}")
            total = sum(splits[name] for name in splits_of(scope))
            table = build_items(self._item_counts(scope), items, total, behaviour, self.clock)
            self._write(table, "items", f"items_{scope}")
            if scope == "train" or self.night.config.refit:
                self._write_examples(scope)
        self._describe_features(static)
        return self._table("items_train").filter(F.col(tables.N_EVENTS) > 0).count()

    def _write_examples(self, scope: Scope) -> None:
        positions, name = positions_of(self.data.examples), f"examples_{scope}"
        files = training_files(min(self.rows["interactions"], self.rows["user_ids"] * (positions.most or 1)))
        histories = read_histories(self.spark, self.out / "interactions", splits_of(scope), positions.reach)
        sequences = sequences_of(histories, self._table(f"users_{scope}"), files)
        self.rows[name] = write_from_workers(sequences, tables.ddl("examples"), self.out / name, positions.rows)

    def _day_events(self) -> int | None:
        """Events of the night's own day; None where the log has no clock."""
        if self.clock.end_us is None:
            return None
        return self._table("interactions").filter(F.col(tables.TS) >= self.clock.end_us - _DAY_US).count()

    def _describe_features(self, static: dict[str, Static]) -> None:
        def sizes(side: Static, behavioural: int) -> dict[str, int]:
            numbers, vector = side.widths[tables.NUMBERS] + behavioural, side.widths[tables.VECTOR]
            return {"n_codes": side.n_codes, "n_numbers": numbers, "n_vector": vector}

        description: dict[str, Any] = {
            "examples_kind": self.data.examples.kind,
            "repeats": self.data.filters.repeats == "all",
            "user_sizes": sizes(static["users"], 0),
            "item_sizes": sizes(static["items"], 2),
            "scales": {
                side: {name: asdict(scale) for name, scale in static[side].scales.items()}
                for side in ("users", "items")
            },
        }
        write_json(self.out / FEATURES_FILE, description)

    def _columns_of(self, files: list[SourceFile]) -> dict[str, str]:
        return columns_of(read_source(self.spark, self.data.interactions, files))

    def _item_counts(self, scope: Scope) -> "DataFrame":
        splits, least = splits_of(scope), self.night.config.privacy.min_users_per_item
        counts = item_counts(self._scratch(_ITEMS), splits)
        return without_rare(counts, self._table("interactions"), splits, least) if least > 1 else counts

    def _known(self, name: str) -> "list[DataFrame]":
        """What the night that this one goes on from says of the log in a table; empty where all of it is read."""
        if self.increment is None:
            return []
        table = read_table(self.spark, self.increment.folder / name)
        return [table.filter(F.col(tables.INPUT) == LOG) if name == "quarantine" else table]

    def _scratch(self, name: str) -> "DataFrame":
        return read_table(self.spark, self.scratch / name)

    def _table(self, name: str) -> "DataFrame":
        return read_table(self.spark, self.out / name)

    def _write(self, frame: "DataFrame", table: str, name: str | None = None) -> None:
        name = name or table
        self.rows[name] = write_table(frame, table, self.out / name)


def _at_once(*work: Callable[[], _T]) -> list[_T]:
    """Results of several pieces of work, each of which leaves the cluster idle between small jobs."""
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(one) for one in work]]


STAGE = Stage(NAME, NAME, (), _settings, _build)
