"""What the logs look like, how they are cleaned and split, and which features are built from them."""

from typing import Any, Literal

from pydantic import Field, model_validator

from kdspark.config.base import Strict
from kdspark.config.source import SourceConfig

TimestampUnit = Literal["s", "ms", "us", "timestamp", "ordinal"]


class ColumnsConfig(Strict):
    """The user's own column names for the interaction log.

    `timestamp_unit` says how to read `timestamp`: epoch seconds, milli- or microseconds, a SQL timestamp (or its
    ISO text), or "ordinal", a plain position that orders the events of a user and is no clock.
    """

    user: str
    item: str
    timestamp: str | None = None
    timestamp_unit: TimestampUnit = "s"
    weight: str | None = None

    @model_validator(mode="after")
    def _unit_of_a_timestamp(self) -> "ColumnsConfig":
        if self.timestamp is None:
            self.refuse_idle(["timestamp_unit"], "without a `timestamp`")
        return self


class SideTableConfig(SourceConfig):
    """A user or item table: its id column and which of its columns are features.

    `multi_valued` maps a text column to its separator; an array column takes the separator "".
    `numeric` columns may be text; what is no number counts as missing, up to `filters.max_bad_fraction`.
    `dense` columns are arrays of numbers, all of one length (image or text embeddings).
    """

    id: str
    categorical: list[str] = []
    multi_valued: dict[str, str] = {}
    numeric: list[str] = []
    dense: list[str] = []

    @property
    def has_features(self) -> bool:
        """Whether it describes its ids, and does not only list them."""
        return bool(self.categorical or self.multi_valued or self.numeric or self.dense)


class FiltersConfig(Strict):
    """Which events stay.

    Args:
        min_weight: events with a smaller weight are left out (they are no quarantine case).
        repeats: of a user's events on the same item keep all, or only the first or the last one. This comes before the
            split: with "last", an event of the training time disappears where the user comes back to the item in the
            time of valid or test, so that training depends on what came later. With "first" it never does. Exact
            duplicates (same user, item and timestamp) always count once.
        min_user_events, min_item_events: minimum counts; applied once, or until nothing changes if `k_core`. They look
            at all events of the log, valid and test included, as is usual in published experiments.
        max_bad_fraction: above this share of quarantined rows in a log, or in a user or item table, the night fails;
            likewise above this share of a numeric column's values that are no numbers.
    """

    min_weight: float | None = None
    repeats: Literal["all", "first", "last"] = "first"
    min_user_events: int = Field(1, ge=1)
    min_item_events: int = Field(1, ge=1)
    k_core: bool = False
    max_bad_fraction: float = Field(0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _core_of_what(self) -> "FiltersConfig":
        if self.min_user_events == self.min_item_events == 1:
            self.refuse_idle(["k_core"], "with `min_user_events` and `min_item_events` of 1")
        return self


_SPLIT_KEYS = {
    "leave_one_out": {"n_valid", "n_test"},
    "temporal": {"valid_days", "test_days"},
    "random": {"valid_fraction", "test_fraction"},
    "provided": {"valid", "test", "valid_fraction"},
}


class SplitConfig(Strict):
    """How events become train, valid and test.

    leave_one_out: per user by time, the last `n_test` events are test, the `n_valid` before them valid; users with
        fewer than `n_test + n_valid + 1` events keep all of theirs in train.
    temporal: the last `test_days` before the night's end are test, the `valid_days` before them valid (UTC).
    random: by hash of (user, item, seed), `valid_fraction` and `test_fraction` of the events.
    provided: `data.interactions` is train; `valid` (optional: else cut from train by hash) and `test` are read here,
        with ids of the same types (whole numbers of any width). With `valid_fraction` 0 nothing is cut: training keeps
        its last weights, with settings that were chosen before.
    """

    kind: Literal["leave_one_out", "temporal", "random", "provided"] = "leave_one_out"
    n_valid: int = Field(1, ge=1)
    n_test: int = Field(1, ge=1)
    valid_days: float = Field(7, gt=0)
    test_days: float = Field(7, gt=0)
    valid_fraction: float = Field(0.1, ge=0, lt=1)
    test_fraction: float = Field(0.1, gt=0, lt=1)
    valid: SourceConfig | None = None
    test: SourceConfig | None = None

    @property
    def wants_validation(self) -> bool:
        """Whether some events are to be set apart for validation."""
        return self.kind != "provided" or self.valid is not None or self.valid_fraction > 0

    @model_validator(mode="after")
    def _provided_needs_test(self) -> "SplitConfig":
        if (self.kind == "provided") != (self.test is not None):
            raise ValueError("`split.test` is given if, and only if, `split.kind` is 'provided'")
        if self.kind == "random" and self.valid_fraction == 0:
            raise ValueError("`valid_fraction` of a random split must be above 0")
        if self.valid_fraction + self.test_fraction >= 1:
            raise ValueError("`valid_fraction` + `test_fraction` must leave something to train on")
        return self

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> "SplitConfig":
        others = [key for keys in _SPLIT_KEYS.values() for key in keys if key not in _SPLIT_KEYS[self.kind]]
        self.refuse_idle(sorted(others), f"with `kind: {self.kind}`")
        if self.valid is not None:
            self.refuse_idle(["valid_fraction"], "with `valid` given")
        return self


class FeaturesConfig(Strict):
    """Feature tables. `history_length` is L, the number of latest items kept per user in the feature table."""

    history_length: int = Field(100, ge=1)
    max_values: int = Field(8, ge=1, description="values kept of one multi-valued cell, in code order")
    min_code_count: int = Field(1, ge=1, description="rarer category values share the code of 'unknown'")


class ExamplesConfig(Strict):
    """Training positions.

    next_item: one example per (user, event): the events before it are the history, the event is the target;
        at most the `max_positions` latest per user. Needs a log with an order.
    set: one example per user: all training items are both history and targets (up to the two lengths), as for
        logs without an order. Models that read histories then need `input_dropout`, or they would learn to copy.
    """

    kind: Literal["next_item", "set"] = "next_item"
    history_length: int = Field(50, ge=1)
    max_positions: int = Field(100, ge=1)
    max_targets: int = Field(1, ge=1, description="targets per example; default 1, with set `history_length`")

    @model_validator(mode="before")
    @classmethod
    def _targets_of_a_set(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("kind") == "set" and "max_targets" not in raw:
            return {**raw, "max_targets": raw.get("history_length", 50)}
        return raw

    @model_validator(mode="after")
    def _positions_of_a_sequence(self) -> "ExamplesConfig":
        if self.kind == "set":
            self.refuse_idle(["max_positions"], "with `kind: set`")
        return self


class DataConfig(Strict):
    """Everything the prepare stage needs to know.

    Args:
        incremental: go on from the last published night's events, and read only the files that have come since, where
            that gives the same tables as reading everything: files, columns and filters are as they were, without
            minimum weights and counts. Else, or if this is off, everything is read.
    """

    interactions: SourceConfig
    columns: ColumnsConfig
    users: SideTableConfig | None = None
    items: SideTableConfig | None = None
    filters: FiltersConfig = FiltersConfig()
    split: SplitConfig = SplitConfig()
    features: FeaturesConfig = FeaturesConfig()
    examples: ExamplesConfig = ExamplesConfig()
    incremental: bool = True

    @model_validator(mode="after")
    def _order_where_needed(self) -> "DataConfig":
        ordered = self.columns.timestamp is not None
        if self.split.kind in ("leave_one_out", "temporal") and not ordered:
            raise ValueError(f"a {self.split.kind} split needs `data.columns.timestamp`")
        if self.split.kind == "temporal" and self.columns.timestamp_unit == "ordinal":
            raise ValueError("a temporal split needs a clock; `timestamp_unit: ordinal` is none")
        if self.examples.kind == "next_item" and not ordered:
            raise ValueError("`examples.kind: next_item` needs `data.columns.timestamp`; use `set`")
        if self.filters.min_weight is not None and self.columns.weight is None:
            raise ValueError("`filters.min_weight` needs `data.columns.weight`")
        return self
