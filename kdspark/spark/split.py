"""Events become train, valid and test: leave-one-out by time, temporal, random by hash, or provided.

Legend: an interactions frame has user_idx, item_idx, ts, weight; a split frame has `split` too. The events of a
provided split come with one: that of the file they are from.
"""

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.config import SplitConfig
from kdspark.errors import InputError
from kdspark.spark.order import latest_first

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_DAY_US = 86_400 * 1_000_000
_HASH_RANGE = 2**53


def split_events(
    events: "DataFrame",
    config: SplitConfig,
    seed: int,
    end_us: int,
) -> "DataFrame":
    """Set column `split`; see `SplitConfig` for what each kind means.

    Ties in time are broken by a hash of (user, item), see `order`; random numbers are hashes of (user, item, seed):
    the same split for any partitioning.

    Args:
        end_us: end of the night, from which a temporal split counts back.
    """
    if config.kind == "leave_one_out":
        return _leave_one_out(events, config)
    if config.kind == "temporal":
        cut_test = end_us - round(config.test_days * _DAY_US)
        cut_valid = cut_test - round(config.valid_days * _DAY_US)
        ts = F.col(tables.TS)
        late = F.when(ts >= cut_test, tables.TEST).when(ts >= cut_valid, tables.VALID)
        return events.withColumn(tables.SPLIT, late.otherwise(tables.TRAIN))
    if config.kind == "random":
        test_below = config.test_fraction
        valid_below = test_below + config.valid_fraction
        draw = _uniform(seed)
        part = F.when(draw < test_below, tables.TEST).when(draw < valid_below, tables.VALID)
        return events.withColumn(tables.SPLIT, part.otherwise(tables.TRAIN))
    if config.valid is not None:
        return events
    cut = (F.col(tables.SPLIT) == tables.TRAIN) & (_uniform(seed) < config.valid_fraction)
    return events.withColumn(tables.SPLIT, F.when(cut, tables.VALID).otherwise(F.col(tables.SPLIT)))


def check_split(counts: dict[str, int], config: SplitConfig) -> None:
    """Raise InputError if a split is empty; `counts` are rows by split."""
    wanted = [tables.TRAIN, tables.TEST] + ([tables.VALID] if config.wants_validation else [])
    for name in wanted:
        if not counts.get(name):
            there = ", ".join(f"{split} {count:,}" for split, count in sorted(counts.items()))
            raise InputError(
                f"The split leaves no {name} events ({there}).", "Change `data.split`, or bring a longer log."
            )


def _leave_one_out(events: "DataFrame", config: SplitConfig) -> "DataFrame":
    everything = Window.partitionBy(tables.USER_IDX)
    held_out = config.n_test + config.n_valid
    place = F.row_number().over(latest_first())
    enough = F.count("*").over(everything) > held_out
    part = F.when(enough & (place <= config.n_test), tables.TEST).when(enough & (place <= held_out), tables.VALID)
    return events.withColumn(tables.SPLIT, part.otherwise(tables.TRAIN))


def _uniform(seed: int) -> "Column":
    """A number in [0, 1) that depends on (user, item, seed) alone."""
    hashed = F.xxhash64(tables.USER_IDX, tables.ITEM_IDX, F.lit(seed))
    return F.pmod(hashed, F.lit(_HASH_RANGE)) / F.lit(float(_HASH_RANGE))
