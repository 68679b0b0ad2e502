"""The tables of a night's rules, compiled: arrays by item, and a row per user.

Legend: N items, L lists by segment, X words of 64 of these, Z boosts, S segments, G groups.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdspark import tables
from kdspark.bridge.shipping import ids_in_order
from kdspark.config import RulesConfig, SourceConfig
from kdspark.errors import InputError
from kdspark.spark.io import read_table
from kdspark.spark.rule_tables import read_rule, warn_of_unknown
from kdspark.spark.rule_users import user_rules
from kdspark.spark.sources import SourceFile
from kdspark.spark.withheld import Withheld, logged_types

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Arrays = dict[str, npt.NDArray[Any]]

_MOST_LISTS, _MOST_BOOSTS = 1024, 64  # by segment
_HOUR_US = 3_600_000_000
_OPEN = {"start": np.iinfo(np.int64).min, "end": np.iinfo(np.int64).max}  # ends of windows
_AT_ONCE = 4


class RuleTables:
    """One night's tables, of which only those by item fit in memory; these go through `out`."""

    def __init__(
        self,
        spark: "SparkSession",
        config: RulesConfig,
        files: Mapping[str, list[SourceFile]],
        prepared: Path,
        n_items: int,
        out: Path,
        withheld: Withheld | None = None,
    ) -> None:
        self._config, self._n_items, self._out = config, n_items, out
        self._user_ids, self._item_ids = (read_table(spark, prepared / name) for name in ("user_ids", "item_ids"))
        self._catalogue = ids_in_order(prepared / "item_ids", tables.ITEM_IDX, tables.ITEM_ID)
        types = logged_types(spark, prepared)
        sources = config.tables

        def read(key: str) -> "DataFrame":
            return read_rule(spark, key, sources[key], files[key], types, out / key, withheld)

        with ThreadPoolExecutor(_AT_ONCE) as pool:  # small jobs, most of whose time is planning
            self._frames = dict(zip(sources, pool.map(read, sources), strict=True))

    def arrays(self, n_events_N: npt.NDArray[np.int64], end_us: int) -> Arrays:
        """The fields of `Rules`, but for its caps, of which these are the arguments."""
        allowed_N, lists = self._lists
        allowed_N = allowed_N.copy()
        if self._config.availability is not None:
            allowed_N &= self._available(end_us)
        if not allowed_N.any():
            raise InputError("`scoring.rules` leave no item to recommend.", "Look at the allow lists and windows.")
        boosts = self._boosts
        place = {name: number for number, name in enumerate(self._segments)}
        words = -(-len(lists) // 64)
        withheld_NX = np.zeros((self._n_items, words), np.uint64)
        segments_SX = np.zeros((len(place), words), np.uint64)
        for number, (name, withheld_N) in enumerate(lists):
            bit = np.uint64(1 << number % 64)
            withheld_NX[withheld_N, number // 64] |= bit
            segments_SX[place[name], number // 64] |= bit
        columns = list(boosts)
        weights_SZ = np.zeros((len(place), len(columns)), np.float32)
        for number, column in enumerate(columns):
            if column is not None:
                weights_SZ[place[column], number] = 1
        boosts_NZ = np.stack(list(boosts.values()), axis=1) if boosts else np.zeros((self._n_items, 0), np.float32)
        return {
            "allowed_N": allowed_N,
            "withheld_NX": withheld_NX,
            "segments_SX": segments_SX,
            "boosts_NZ": np.ascontiguousarray(boosts_NZ),
            "weights_SZ": weights_SZ,
            "backfill_N": self._backfill(n_events_N),
            **self._caps(),
        }

    def by_user(self) -> "DataFrame | None":
        """What the tables say of users (`spark.rule_users`)."""
        lists = {f"lists.{number}": table for number, table in enumerate(self._config.lists) if table.user}
        denied = [self._frames[key] for key, table in lists.items() if table.kind == "deny"]
        granted = next((self._frames[key] for key, table in lists.items() if table.kind == "allow"), None)
        segments = self._frames.get("segments")
        return user_rules(segments, self._segments, denied, granted, self._user_ids, self._item_ids)

    @cached_property
    def _segments(self) -> list[str]:
        """Those that any list or boost names."""
        _, lists = self._lists
        return sorted({name for name, _ in lists} | {name for name in self._boosts if name is not None})

    @cached_property
    def _lists(self) -> tuple[npt.NDArray[np.bool_], list[tuple[str, npt.NDArray[np.bool_]]]]:
        """What is allowed to everyone, and (segment, what it may not have) for each list and segment."""
        # an item that has become sensitive has lost its id
        allowed_N, by_segment = np.asarray(pc.is_valid(self._catalogue), np.bool_), []
        for number, table in enumerate(self._config.lists):
            if table.user:
                continue
            # Unknown items count: an allow list of nothing else allows nothing.
            rows = self._rows(f"lists.{number}", table, keep_unknown=True)
            for segment, part in _by_segment(rows):
                withheld_N = np.full(self._n_items, table.kind == "allow")
                listed = part[tables.ITEM_IDX]
                withheld_N[listed[listed >= 0]] = table.kind == "deny"
                if segment is None:
                    allowed_N &= ~withheld_N
                else:
                    by_segment.append((segment, withheld_N))
        if len(by_segment) > _MOST_LISTS:
            raise InputError(
                f"`scoring.rules.lists` name {len(by_segment):,} segments; {_MOST_LISTS:,} is the most.",
                "Join segments with the same list, or make it a list by user.",
            )
        return allowed_N, by_segment

    def _available(self, end_us: int) -> npt.NDArray[np.bool_]:
        config = self._config.availability
        assert config is not None
        rows = self._rows("availability", config)
        items = rows[tables.ITEM_IDX]
        start, end = (rows.get(name, np.full(len(items), bound)) for name, bound in _OPEN.items())
        covers = (start <= end_us) & (end >= end_us + int(config.hours * _HOUR_US))
        available_N = np.ones(self._n_items, np.bool_)
        available_N[items] = False
        available_N[items[covers]] = True
        return available_N

    @cached_property
    def _boosts(self) -> dict[str | None, npt.NDArray[np.float32]]:
        """Segment, or None for everyone, who comes first -> boost of each item; empty without any."""
        boosts: dict[str | None, npt.NDArray[np.float32]] = {}
        for number, table in enumerate(self._config.boosts):
            for segment, part in _by_segment(self._rows(f"boosts.{number}", table)):
                boosts.setdefault(None, np.zeros(self._n_items, np.float32))
                boost_N = boosts.setdefault(segment, np.zeros(self._n_items, np.float32))
                np.add.at(boost_N, part[tables.ITEM_IDX], part["boost"].astype(np.float32))
        if len(boosts) > _MOST_BOOSTS:
            raise InputError(
                f"`scoring.rules.boosts` name {len(boosts):,} segments; {_MOST_BOOSTS} is the most.",
                "Join segments with the same boosts.",
            )
        return boosts

    def _caps(self) -> Arrays:
        items, groups = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        most: list[int] = []
        soft: list[bool] = []
        for number, table in enumerate(self._config.caps):
            rows = self._rows(f"caps.{number}", table)
            names, group = np.unique(rows["group"].astype(str), return_inverse=True)
            items.append(rows[tables.ITEM_IDX])
            groups.append(group + len(most))
            most += [table.most] * len(names)
            soft += [table.when_short == "relax"] * len(names)
        return {
            "cap_items": np.concatenate(items),
            "cap_groups": np.concatenate(groups),
            "most_G": np.array(most, np.int32),
            "soft_G": np.array(soft, np.bool_),
        }

    def _backfill(self, n_events_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if self._config.backfill is None:
            return n_events_N.astype(np.float32)
        rows = self._rows("backfill", self._config.backfill)
        order_N = np.full(self._n_items, -np.inf, np.float32)
        _, places = np.unique(rows["order"], return_inverse=True)
        np.maximum.at(order_N, rows[tables.ITEM_IDX], -places.astype(np.float32))
        return order_N

    def _rows(self, key: str, source: SourceConfig, keep_unknown: bool = False) -> Arrays:
        """A table by item; rows of items that the night does not know are counted, and left out, or have item -1."""
        wanted = [name for name in self._frames[key].columns if name != tables.ITEM_ID]
        table = pq.read_table(self._out / key, columns=[*wanted, tables.ITEM_ID])
        items = pc.fill_null(pc.index_in(table.column(tables.ITEM_ID), self._catalogue), -1)
        items_R = np.asarray(items.to_numpy(), np.int64)
        kept_R = np.ones(len(items_R), np.bool_) if keep_unknown else items_R >= 0
        warn_of_unknown(key, source, "item", int((items_R < 0).sum()), len(items_R))
        rows: Arrays = {tables.ITEM_IDX: items_R[kept_R]}
        for name in wanted:
            column = table.column(name)
            rows[name] = (column.fill_null(_OPEN[name]) if name in _OPEN else column).to_numpy()[kept_R]
        return rows


def _by_segment(rows: Arrays) -> Iterator[tuple[str | None, Arrays]]:
    """The rows of each segment; all of them, of None, where the table is for everyone."""
    if "segment" not in rows:
        yield None, rows
        return
    names, found = np.unique(rows["segment"].astype(str), return_inverse=True)
    order = np.argsort(found, kind="stable")
    bounds = np.searchsorted(found[order], np.arange(len(names) + 1))
    for place, name in enumerate(names):
        part = order[bounds[place] : bounds[place + 1]]
        yield str(name), {key: column[part] for key, column in rows.items()}
