"""Means with bootstrap intervals, and paired differences, of per-user metrics in Spark.

Workers add exact integer sums per replicate (`kdspark.ranking.bootstrap`); what reaches the driver is one block of
them per group, whatever the number of users, and its bits do not depend on the partitioning.

Legend: M metrics, R replicates.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.errors import StageError
from kdspark.ranking.bootstrap import Difference, Interval, Sums, difference, estimates, interval, weighted_sums

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_SUMS = "sums"
_UNMATCHED = "unmatched"
_PAIR = "pair"
_MOST_PARTITIONS = 16
Key = tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """The metrics of one group of users."""

    users: int
    metrics: dict[str, Interval]


def metric_columns(per_user: "DataFrame") -> list[str]:
    """Names of the metrics: every column of type DOUBLE."""
    return [field.name for field in per_user.schema.fields if field.dataType.simpleString() == "double"]


def summarise_by(
    per_user: "DataFrame", by: Sequence[str], confidence: float, n_bootstrap: int, seed: int
) -> dict[Key, Summary]:
    """Mean of every metric in every group, with percentile intervals, in one job.

    Args:
        per_user: user_idx, one DOUBLE column per metric (null: undefined for this user, left out of that mean), and
            the columns of `by`; one row per user and group.
        by: few-valued columns, such as model and slice; a row with a null in one of them is left out.

    Returns:
        {values of `by`: summary}, keys in sorted order.
    """
    names = metric_columns(per_user)
    return {
        key: Summary(users, {name: interval(column, confidence) for name, column in columns.items()})
        for key, (users, columns) in _replicates(per_user, by, names, n_bootstrap, seed).items()
    }


def paired_models(
    per_user: "DataFrame", pairs: Sequence[tuple[str, str]], confidence: float, n_bootstrap: int, seed: int
) -> dict[tuple[str, str], dict[str, Difference]]:
    """Per pair {metric: {difference, low, high, p_value}} of a - b over the same users, for all pairs in one job.

    Args:
        per_user: as for `summarise_by`, with a column `model`.
        pairs: (a, b), values of that column.

    Raises:
        StageError: two models do not have the same users.
    """
    names = metric_columns(per_user)
    model = F.col(tables.MODEL)
    frames = [
        _differences(per_user.where(model == a), per_user.where(model == b), names).withColumn(_PAIR, F.lit(str(index)))
        for index, (a, b) in enumerate(pairs)
    ]
    if not frames:
        return {}
    together = reduce(lambda one, other: one.unionByName(other), frames)
    found = _paired_groups(together, names, confidence, n_bootstrap, seed)
    return {pair: found[str(index)] for index, pair in enumerate(pairs) if str(index) in found}


def _differences(a: "DataFrame", b: "DataFrame", names: Sequence[str]) -> "DataFrame":
    def renamed(frame: "DataFrame", prefix: str) -> "DataFrame":
        here = F.lit(True).alias(prefix)
        return frame.select(tables.USER_IDX, here, *(_column(name).alias(f"{prefix}{name}") for name in names))

    both = renamed(a, "a:").join(renamed(b, "b:"), tables.USER_IDX, "full")
    missing = F.col("a:").isNull() | F.col("b:").isNull()
    return both.select(
        tables.USER_IDX,
        F.when(missing, 1.0).otherwise(0.0).alias(_UNMATCHED),
        *((_column(f"a:{name}") - _column(f"b:{name}")).alias(name) for name in names),
    )


def _paired_groups(
    frame: "DataFrame", names: Sequence[str], confidence: float, n_bootstrap: int, seed: int
) -> dict[str, dict[str, Difference]]:
    groups = _replicates(frame, [_PAIR], [_UNMATCHED, *names], n_bootstrap, seed)
    if any(columns[_UNMATCHED][0] > 0 for _, columns in groups.values()):
        raise StageError(
            "Two models were evaluated on different users.", "Delete the evaluate stage's folder and run it again."
        )
    return {key[0]: {n: difference(columns[n], confidence) for n in names} for key, (_, columns) in groups.items()}


def _replicates(
    frame: "DataFrame", by: Sequence[str], names: Sequence[str], n_bootstrap: int, seed: int
) -> dict[Key, tuple[int, dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"]]]:
    """Per group: number of users, and the estimates [R + 1] of every metric."""
    keys = [F.col(name).cast("string").alias(name) for name in by]
    rows = frame.select(tables.USER_IDX, *keys, *map(_column, names)).dropna(subset=list(by))
    schema = ", ".join([*(f"`{name}` STRING" for name in by), f"{_SUMS} BINARY"])
    # A block of sums is about a megabyte per partition and group, and all of them meet in one task.
    parts = rows.coalesce(_MOST_PARTITIONS).mapInArrow(_PartialSums(tuple(by), tuple(names), n_bootstrap, seed), schema)
    totals = parts.repartition(1).mapInArrow(_AddUp(tuple(by)), schema).collect()
    shape = (2, n_bootstrap + 1, 1 + len(names))
    found = {}
    for row in sorted(totals, key=lambda row: tuple(row[name] for name in by)):
        sums = np.frombuffer(row[_SUMS], "<i8").reshape(shape)
        means = estimates(sums)
        columns = {name: means[:, 1 + index] for index, name in enumerate(names)}
        found[tuple(row[name] for name in by)] = (int(sums[1, 0, 0]), columns)
    return found


def _column(name: str) -> "Column":
    return F.col(f"`{name}`")


@dataclass(frozen=True)
class _PartialSums:
    """One partition's users -> one row of sums per group. The first "metric" is the constant 1, to count users."""

    by: Key
    names: tuple[str, ...]
    replicates: int
    seed: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals: dict[Key, Sums] = {}
        for batch in batches:
            users_B = np.asarray(batch.column(tables.USER_IDX), np.int64)
            columns = [np.ones(len(users_B)), *(_values(batch.column(name)) for name in self.names)]
            values_BM = np.stack(columns, axis=1)
            for key, rows in _groups(batch, self.by):
                _add(totals, key, weighted_sums(users_B[rows], values_BM[rows], self.replicates, self.seed))
        yield _record(self.by, totals)


@dataclass(frozen=True)
class _AddUp:
    """Rows of sums -> one row per group."""

    by: Key

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals: dict[Key, Sums] = {}
        for batch in batches:
            columns = [batch.column(name).to_pylist() for name in self.by]
            for index, block in enumerate(batch.column(_SUMS)):  # one per partition and group, not per user
                _add(totals, tuple(column[index] for column in columns), np.frombuffer(block.as_py(), "<i8"))
        yield _record(self.by, totals)


def _add(totals: dict[Key, Sums], key: Key, sums: Sums) -> None:
    totals[key] = totals[key] + sums if key in totals else sums


def _values(column: pa.Array) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)  # null becomes NaN


def _groups(batch: pa.RecordBatch, by: Key) -> Iterator[tuple[Key, "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"]]:
    """(values of `by`, row numbers) of each group in a batch."""
    rows = np.arange(batch.num_rows)
    if not by:
        yield (), rows
        return
    frame = pa.Table.from_batches([batch]).select(list(by)).to_pandas()
    for key, where in frame.groupby(list(by), sort=True).indices.items():
        yield (tuple(key) if isinstance(key, tuple) else (key,)), rows[where]


def _record(by: Key, totals: dict[Key, Sums]) -> pa.RecordBatch:
    keys = [pa.array([key[index] for key in totals], pa.string()) for index in range(len(by))]
    blocks = pa.array([sums.astype("<i8").tobytes() for sums in totals.values()], pa.binary())
    return pa.RecordBatch.from_arrays([*keys, blocks], names=[*by, _SUMS])
