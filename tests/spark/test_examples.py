"""Training positions against brute force, and by hand."""

import pytest

from kdspark import tables
from kdspark.config import ExamplesConfig
from kdspark.spark.examples import positions_of, scoring_inputs, sequences_of, widened
from tests.spark.logs import Written, tie_hashes

PAD = tables.PAD
CONFIG = ExamplesConfig()


def users(spark, n):
    rows = [(user, [user], [float(user)], [0.5, user / 2]) for user in range(n)]
    schema = (
        f"{tables.USER_IDX} INT, {tables.CODES} ARRAY<INT>, {tables.NUMBERS} ARRAY<FLOAT>, {tables.VECTOR} ARRAY<FLOAT>"
    )
    return spark.createDataFrame(rows, schema)


def examples_of(histories, users, config, files):
    sequences = sequences_of(histories, users, files)
    return sequences.mapInArrow(positions_of(config).rows, tables.ddl("examples"))


def found(frame):
    assert frame.columns == tables.columns("examples")
    rows = {}
    for row in frame.collect():
        user = row[tables.USER_IDX]
        assert (row[tables.CODES], row[tables.NUMBERS]) == ([user], [float(user)])
        assert row[tables.VECTOR] == [0.5, user / 2]
        rows[(user, row[tables.POSITION])] = (row[tables.HISTORY], row[tables.TARGETS])
    assert len(rows) == frame.count()
    return rows


@pytest.fixture
def build(spark, tmp_path):
    written = Written(spark, tmp_path)

    def build(rows, users, config, files=3):
        return examples_of(written.histories(rows, positions_of(config).reach, files), users, config, files)

    return build


def left(items, length):
    return [PAD] * (length - len(items)) + items


def right(items, length):
    return items + [PAD] * (length - len(items))


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize(("length", "positions", "targets"), [(3, 4, 1), (1, 100, 3), (5, 1, 2)])
def test_next_item_against_brute_force(spark, build, files, length, positions, targets):
    # Items in no order of their own; pairs of events share a timestamp.
    logs = {
        user: [(user, (7 * n + user) % 23, n // 2) for n in range(count)] for user, count in enumerate((0, 1, 2, 9, 20))
    }
    rows = [row for log in logs.values() for row in log]
    config = ExamplesConfig(history_length=length, max_positions=positions, max_targets=targets)
    hashes = tie_hashes(spark, rows)
    expected = {}
    for user, log in logs.items():
        items = [item for _, item, _ in sorted(log, key=lambda row: (row[2], -hashes[row[:2]]))]
        for p in range(max(1, len(items) - positions), len(items)):
            history = items[max(0, p - length) : p]
            expected[(user, p)] = (left(history, length), right(items[p : p + targets], targets))
    assert found(build(rows, users(spark, 5), config, files)) == expected


def test_set_by_hand(spark, build):
    log = [(0, 4, 20), (0, 1, 10), (0, 9, 30), (1, 2, None)]
    config = ExamplesConfig(kind="set", history_length=2, max_targets=4)
    assert found(build(log, users(spark, 3), config)) == {
        (0, 0): ([4, 9], [1, 4, 9, PAD]),
        (1, 0): ([PAD, 2], [2, PAD, PAD, PAD]),
    }


def test_partitions_are_whole_users_in_order(spark, build):
    rows = [(user, item, item) for user in range(40) for item in range(user % 7)]
    parts = build(rows, users(spark, 40), CONFIG, 3).rdd.glom().collect()
    keys = [[(row[tables.USER_IDX], row[tables.POSITION]) for row in part] for part in parts]
    assert [part == sorted(part) for part in keys] == [True] * 3
    assert len({user for part in keys for user, _ in part}) == sum(len({user for user, _ in part}) for part in keys)


def test_scoring_inputs_are_whole_histories_without_targets(spark, build):
    histories = {1: [PAD, PAD, PAD, 7], 2: [9, 8, 7, 6], 3: [PAD] * 4}
    counts = spark.createDataFrame(
        [(user, 10 * user, history) for user, history in histories.items()],
        f"{tables.USER_IDX} INT, {tables.N_EVENTS} INT, {tables.HISTORY} ARRAY<INT>",
    )
    rows = scoring_inputs(users(spark, 4).join(counts, tables.USER_IDX), 2, 3)
    assert rows.dtypes == build([(0, 1, 0), (0, 2, 1)], users(spark, 1), CONFIG).dtypes
    for length in (4, 6):
        wanted = {(user, 10 * user + copy): left(histories[user], length) for user in (1, 2) for copy in range(3)}
        assert found(widened(rows, length)) == {key: (history, [PAD, PAD]) for key, history in wanted.items()}
