"""What histories leave out, against brute force."""

import pytest

from kdspark import tables
from kdspark.config import ExamplesConfig
from kdspark.spark.earlier import EARLIER, with_earlier
from kdspark.spark.examples import positions_of, widened
from tests.spark.logs import Written, events, tie_hashes
from tests.spark.test_examples import examples_of, users

LENGTH = 3
LOGS = {user: [(user, (7 * n + user) % 23, n // 2) for n in range(count)] for user, count in enumerate((1, 3, 4, 9))}


@pytest.mark.parametrize(("kind", "wide"), [("next_item", LENGTH), ("next_item", 5), ("set", LENGTH)])
def test_history_and_what_it_leaves_out_are_all_that_a_user_did(spark, tmp_path, kind, wide):
    rows = [row for log in LOGS.values() for row in log]
    hashes = tie_hashes(spark, rows)
    ordered = {
        user: [item for _, item, _ in sorted(log, key=lambda row: (row[2], -hashes[row[:2]]))]
        for user, log in LOGS.items()
    }
    counts = spark.createDataFrame([(u, len(log)) for u, log in LOGS.items()], f"{tables.USER_IDX} INT, n_events INT")
    log, features = events(spark, rows, 3), users(spark, 4).join(counts, tables.USER_IDX)
    config = ExamplesConfig(kind=kind, history_length=LENGTH)
    histories = Written(spark, tmp_path).histories(rows, positions_of(config).reach)
    examples = examples_of(histories, features, config, 3)

    found = with_earlier(widened(examples, wide), log, features, LENGTH, kind).collect()
    assert found
    longest = 0
    for row in found:
        items = ordered[row.user_idx]
        by_then = len(items) if kind == "set" else row.position
        kept = [item for item in row.history if item != tables.PAD]
        assert (row[EARLIER] or []) + kept == items[:by_then]
        assert row[EARLIER] is None or len(row[EARLIER]) > 0
        longest = max(longest, len(row[EARLIER] or []))
    assert longest == (6 if kind == "set" else 5)


@pytest.mark.parametrize(("kind", "latest"), [("next_item", LENGTH), ("next_item", 6), ("set", LENGTH)])
def test_of_repeats_the_first_stands_for_all_but_among_the_latest(spark, tmp_path, kind, latest):
    """A user who does five things over and over has short lists, and the same items in them."""
    items = [n * n % 7 for n in range(40)]
    rows = [(0, item, n) for n, item in enumerate(items)]
    counts = spark.createDataFrame([(0, len(rows))], f"{tables.USER_IDX} INT, n_events INT")
    log, features = events(spark, rows, 3), users(spark, 1).join(counts, tables.USER_IDX)
    config = ExamplesConfig(kind=kind, history_length=LENGTH)
    histories = Written(spark, tmp_path).histories(rows, positions_of(config).reach)
    found = with_earlier(examples_of(histories, features, config, 3), log, features, LENGTH, kind, latest).collect()
    assert len(found) == (1 if kind == "set" else 39)
    for row in found:
        by_then = len(items) if kind == "set" else row.position
        kept = [item for item in row.history if item != tables.PAD]
        before = list(enumerate(items))[: by_then - len(kept)]
        wanted = [item for n, item in before if n >= len(items) - latest or items.index(item) == n]
        assert (row[EARLIER] or []) == wanted
