"""Splits against brute force in pandas: ties, boundaries, determinism, and what an empty part says."""

from functools import reduce

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.config import FiltersConfig, SourceConfig, SplitConfig
from kdspark.errors import InputError
from kdspark.spark.filters import deduplicate
from kdspark.spark.split import check_split, split_events
from tests.spark.logs import END_US, events, tie_hashes

DAY_US = 86_400_000_000


def parts(frame):
    found = {}
    for row in frame.collect():
        found.setdefault(row[tables.SPLIT], set()).add((row[tables.USER_IDX], row[tables.ITEM_IDX], row[tables.TS]))
    return found


def of_files(frames):
    """The events of a provided split."""
    marked = [frame.withColumn(tables.SPLIT, F.lit(split)) for split, frame in frames.items()]
    return reduce(lambda a, b: a.unionByName(b), marked)


def test_leave_one_out_against_brute_force_whatever_the_partitions(spark):
    rng = np.random.default_rng(5)
    rows = sorted({(int(u), int(i), int(t)) for u, i, t in rng.integers(0, [12, 40, 6], (120, 3))})  # many ties
    rows += [(50, 1, 1), (50, 2, 1), (50, 3, 1), (51, 1, 1)]  # too few events: all stay in train
    config = SplitConfig(n_valid=1, n_test=2)
    log, hashes = pd.DataFrame(rows, columns=["u", "i", "t"]), tie_hashes(spark, rows)
    log["h"] = [hashes[pair] for pair in zip(log["u"], log["i"], strict=True)]
    log = log.sort_values(["u", "t", "h"], ascending=[True, True, False])
    place, size = log.groupby("u").cumcount(ascending=False), log.groupby("u")["i"].transform("size")
    log["s"] = np.where(size <= 3, "train", np.where(place < 2, "test", np.where(place < 3, "valid", "train")))
    expected = {name: set(part[["u", "i", "t"]].itertuples(index=False, name=None)) for name, part in log.groupby("s")}
    for partitions in (1, 7):
        assert parts(split_events(events(spark, rows, partitions), config, 1, END_US)) == expected


def test_temporal_boundaries_are_half_open(spark):
    cut_test, cut_valid = END_US - DAY_US, END_US - 3 * DAY_US
    rows = [(0, 0, cut_valid - 1), (0, 1, cut_valid), (1, 2, cut_test - 1), (1, 3, cut_test), (1, 4, END_US - 1)]
    config = SplitConfig(kind="temporal", valid_days=2, test_days=1)
    found = parts(split_events(events(spark, rows), config, 1, END_US))
    assert found == {"train": {rows[0]}, "valid": {rows[1], rows[2]}, "test": {rows[3], rows[4]}}


def test_random_depends_on_user_item_and_seed_alone(spark):
    rows = [(u, i, u * i) for u in range(40) for i in range(50)]
    config = SplitConfig(kind="random", valid_fraction=0.1, test_fraction=0.2)
    one = parts(split_events(events(spark, rows, 1), config, 7, END_US))
    assert parts(split_events(events(spark, rows[::-1], 7), config, 7, END_US)) == one
    assert parts(split_events(events(spark, rows), config, 8, END_US)) != one
    # Binomial with n = 2000: five standard deviations.
    assert abs(len(one["test"]) - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5
    assert abs(len(one["valid"]) - 200) < 5 * (2000 * 0.1 * 0.9) ** 0.5
    assert sum(map(len, one.values())) == 2000


def test_provided(spark):
    config = SplitConfig(kind="provided", test=SourceConfig(paths="unused"), valid_fraction=0.25)
    train, valid, test = [(0, i, 0) for i in range(200)], [(1, 1, 1)], [(1, 2, 2)]
    files = {tables.TRAIN: events(spark, train), tables.VALID: events(spark, valid), tables.TEST: events(spark, test)}
    both = config.model_copy(update={"valid": SourceConfig(paths="unused")})
    given = split_events(of_files(files), both, 1, END_US)
    assert parts(given) == {"train": set(train), "valid": set(valid), "test": set(test)}
    del files[tables.VALID]
    cut = parts(split_events(of_files(files), config, 1, END_US))
    assert cut["test"] == set(test)
    assert cut["train"] | cut["valid"] == set(train)
    assert not cut["train"] & cut["valid"]
    assert 20 < len(cut["valid"]) < 80


@pytest.mark.parametrize("empty", ["train", "valid", "test"])
def test_an_empty_part_is_named(empty):
    counts = {name: 5 for name in ("train", "valid", "test") if name != empty}
    with pytest.raises(InputError, match=f"no {empty} events"):
        check_split(counts, SplitConfig())


def test_a_provided_split_may_do_without_validation(spark):
    config = SplitConfig(kind="provided", test=SourceConfig(paths="unused"), valid_fraction=0)
    train, test = [(0, i, 0) for i in range(50)], [(1, 2, 2)]
    files = {tables.TRAIN: events(spark, train), tables.TEST: events(spark, test)}
    found = parts(split_events(of_files(files), config, 1, END_US))
    assert found == {"train": set(train), "test": set(test)}
    check_split({"train": 50, "test": 1}, config)
    with pytest.raises(InputError, match="no valid events"):
        check_split({"train": 50, "test": 1}, config.model_copy(update={"valid_fraction": 0.1}))


@pytest.mark.parametrize(
    "config",
    [
        SplitConfig(n_valid=2, n_test=2),
        SplitConfig(kind="temporal", valid_days=5, test_days=5),
        SplitConfig(kind="random"),
    ],
)
def test_a_repeat_in_the_future_changes_nothing_in_train_by_default(spark, config):
    rng = np.random.default_rng(11)
    first = [(u, int(i), END_US - DAY_US * (20 - n)) for u in range(9) for n, i in enumerate(rng.permutation(30)[:16])]
    again = [(u, i, END_US - DAY_US + n) for n, (u, i, _) in enumerate(first[::3])]

    def train(rows, filters):
        return parts(split_events(deduplicate(events(spark, rows), filters), config, 3, END_US))["train"]

    assert train(first + again, FiltersConfig()) == train(first, FiltersConfig())
    assert train(first + again, FiltersConfig(repeats="last")) != train(first, FiltersConfig())
