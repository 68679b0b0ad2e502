"""Distributed metrics: against Spark's own RankingMetrics, against numpy, and by hand."""

import numpy as np
import pytest
from pyspark.mllib.evaluation import RankingMetrics
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.ranking.beyond import Catalogue, head_items
from kdspark.ranking.metrics import NAMES
from kdspark.spark.metrics import (
    ALL_USERS,
    COUNT,
    SLICE,
    activity_labels,
    item_exposure,
    per_user_metrics,
    slice_metric_names,
    with_activity,
)

KS = [1, 3, 5]


def random_users(seed, users=60, items=15):
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(items)[: rng.integers(0, 8)].tolist() for _ in range(users)]
    truths = [rng.permutation(items)[: rng.integers(1, 7)].tolist() for _ in range(users)]
    return lists, truths


def ranked_frame(spark, lists):
    rows = [(user, items, [0.0] * len(items), tables.REASON_MODEL) for user, items in lists.items()]
    return spark.createDataFrame(rows, tables.ddl("ranked"))


def truth_frame(spark, truths):
    return spark.createDataFrame(list(truths.items()), tables.ddl("truth"))


def by_user(frame):
    return {row[tables.USER_IDX]: row.asDict() for row in frame.collect()}


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "catalogue.npz"
    counts = np.array([9, 4, 0, 1])
    Catalogue(counts, np.array([[1], [1], [2], [0]]), np.empty((4, 0)), head_items(counts, 0.5)).save(path)
    return path


# RankingMetrics itself calls SQLContext.
@pytest.mark.filterwarnings("ignore:Deprecated in 3.0.0:FutureWarning")
def test_equals_sparks_ranking_metrics(spark):
    lists, truths = random_users(1)
    frame = per_user_metrics(
        ranked_frame(spark, dict(enumerate(lists))), truth_frame(spark, dict(enumerate(truths))), KS
    )
    means = frame.agg(*(F.avg(f"`{name}@{k}`").alias(f"{name}@{k}") for name in NAMES for k in KS)).first()
    pairs = [([float(i) for i in a], [float(i) for i in b]) for a, b in zip(lists, truths, strict=True)]
    theirs = RankingMetrics(spark.sparkContext.parallelize(pairs, 2))
    for k in KS:
        assert means[f"precision@{k}"] == pytest.approx(theirs.precisionAt(k), abs=1e-12)
        assert means[f"recall@{k}"] == pytest.approx(theirs.recallAt(k), abs=1e-12)
        assert means[f"ndcg@{k}"] == pytest.approx(theirs.ndcgAt(k), abs=1e-12)
        assert means[f"map@{k}"] == pytest.approx(theirs.meanAveragePrecisionAt(k), abs=1e-12)


def test_truth_without_a_list_scores_zero_and_a_list_without_truth_is_no_row(spark):
    found = by_user(per_user_metrics(ranked_frame(spark, {1: [4], 9: [4]}), truth_frame(spark, {1: [4], 2: [4]}), [2]))
    assert sorted(found) == [1, 2]
    assert found[1]["ndcg@2"] == 1
    assert {value for name, value in found[2].items() if name != tables.USER_IDX} == {0.0}


def test_empty_truth_is_left_out(spark):
    found = by_user(per_user_metrics(ranked_frame(spark, {1: [4], 2: [4]}), truth_frame(spark, {1: [], 2: [4]}), [2]))
    assert list(found) == [2]


def test_catalogue_metrics_by_hand(spark, catalogue):
    ranked = ranked_frame(spark, {0: [0, 2], 1: [1, 0], 2: [3]})
    truth = truth_frame(spark, {0: [2], 1: [0, 3], 2: [1], 3: [0]})
    found = by_user(per_user_metrics(ranked, truth, [2], catalogue))
    assert found[0]["novelty@2"] == pytest.approx(-(np.log2(10 / 18) + np.log2(1 / 18)) / 2)
    assert found[0]["diversity@2"] == pytest.approx(1)
    assert found[1]["diversity@2"] == pytest.approx(0)
    assert found[2]["diversity@2"] is None
    assert found[1]["head_share@2"] == 1
    assert found[3]["novelty@2"] is None
    # Head items: 0 and 1. User 0's truth is in the tail, user 1's is one of each.
    assert found[0]["head:recall@2"] is None
    assert found[0]["tail:recall@2"] == 1
    assert (found[1]["head:recall@2"], found[1]["tail:recall@2"], found[1]["recall@2"]) == (1, 0, 0.5)
    assert found[3]["head:ndcg@2"] == 0
    assert {*slice_metric_names([2])["head"], *slice_metric_names([2])["tail"]} <= set(found[0])


def test_exposure_counts_the_first_k(spark):
    ranked = ranked_frame(spark, {0: [3, 1, 2], 1: [1, 3], 2: []})
    rows = {row[tables.ITEM_IDX]: row[COUNT] for row in item_exposure(ranked, 2).collect()}
    assert rows == {3: 2, 1: 2}


def test_activity_slices(spark):
    assert activity_labels([20, 100]) == ["1-20", "21-100", "over 100"]
    assert activity_labels([]) == ["over 0"]
    per_user = spark.createDataFrame([(0, 1.0), (1, 0.5), (2, 0.0), (3, 0.25)], "user_idx INT, `ndcg@1` DOUBLE")
    users = spark.createDataFrame([(0, 20), (1, 21), (2, 101)], f"{tables.USER_IDX} INT, {tables.N_EVENTS} INT")
    rows = with_activity(per_user, users, [20, 100]).select(tables.USER_IDX, SLICE).collect()
    assert sorted((row[0], row[1]) for row in rows if row[1] != ALL_USERS) == [
        (0, "1-20"),
        (1, "21-100"),
        (2, "over 100"),
        (3, "1-20"),
    ]
    assert sorted(row[0] for row in rows if row[1] == ALL_USERS) == [0, 1, 2, 3]
