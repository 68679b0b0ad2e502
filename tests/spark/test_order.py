"""A user's order of events: by time, ties repeatable, and without a pattern that a model could learn."""

import pytest
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.spark.order import by_user, latest_first, whole_users
from tests.spark.logs import events


def ordered(spark, rows, partitions=1):
    """{user: items, latest first}."""
    frame = events(spark, rows, partitions).withColumn("place", F.row_number().over(latest_first()))
    found = {}
    for row in frame.orderBy(tables.USER_IDX, "place").collect():
        found.setdefault(row[tables.USER_IDX], []).append(row[tables.ITEM_IDX])
    return found


def test_time_decides_and_no_time_is_oldest(spark):
    assert ordered(spark, [(0, 7, 30), (0, 1, None), (0, 9, 10), (0, 3, 20)]) == {0: [7, 3, 9, 1]}


def test_ties_do_not_depend_on_partitions_or_input_order(spark):
    rows = [(user, item, 5) for user in range(20) for item in range(12)]
    once = ordered(spark, rows)
    assert ordered(spark, rows[::-1], partitions=7) == once
    assert all(sorted(items) == list(range(12)) for items in once.values())


def test_partitions_are_in_the_same_order(spark):
    rows = [(user, item, (user * item) % 5 or None) for user in range(9) for item in range(12)]
    listed = {}
    for row in by_user(events(spark, rows).repartition(1)).collect():
        listed.setdefault(row[tables.USER_IDX], []).append(row[tables.ITEM_IDX])
    assert list(listed) == sorted(listed)
    assert listed == ordered(spark, rows)


@pytest.mark.parametrize("partitions", [2, 3])
def test_whole_users_after_a_join_are_in_as_many_partitions_as_asked_for(spark, partitions):
    rows = events(spark, [(user, item, 1) for user in range(20) for item in range(3)])
    joined = rows.join(rows.select(tables.USER_IDX).distinct().hint("merge"), tables.USER_IDX)
    parts = whole_users(joined, partitions).rdd.glom().collect()  # the session joins in three
    assert len(parts) == partitions
    owners = [{row[tables.USER_IDX] for row in part} for part in parts]
    assert sum(map(len, owners)) == len(set().union(*owners)) == 20


def test_tied_items_have_no_common_order(spark):
    """Were it the same for all users, a model could learn which of two tied items comes next."""
    users = 400
    firsts = [items[0] for items in ordered(spark, [(u, i, 5) for u in range(users) for i in (3, 8)]).values()]
    # Binomial with p = 1/2: five standard deviations.
    assert abs(firsts.count(3) - users / 2) < 5 * (users / 4) ** 0.5
