"""Summaries in Spark: equal to numpy, bit-equal for any partitioning, paired by user."""

import numpy as np
import pytest

from kdspark import tables
from kdspark.errors import StageError
from kdspark.ranking.bootstrap import difference, estimates, interval, weighted_sums
from kdspark.spark.bootstrap import metric_columns, paired_models, summarise_by

ARGUMENTS = {"confidence": 0.9, "n_bootstrap": 101, "seed": 4}
SCHEMA = f"{tables.USER_IDX} INT, {tables.MODEL} STRING, `ndcg@10` DOUBLE, `novelty@10` DOUBLE"


def rows_of(model, seed, users=300, lift=0.0):
    rng = np.random.default_rng(seed)
    scores, novelty = np.round(rng.random(users), 3) + lift, rng.random(users) * 20
    return [
        (user, model, float(scores[user]), None if user % 5 == 0 else float(novelty[user])) for user in range(users)
    ]


@pytest.fixture(scope="module")
def per_user(spark):
    rows = rows_of("a", 1) + rows_of("b", 1, lift=0.05) + rows_of("c", 2)
    return spark.createDataFrame(rows, SCHEMA).cache()


def replicates(values):
    return estimates(weighted_sums(np.arange(300), values, 101, 4))


def values_of(rows):
    return np.array([[np.nan if x is None else x for x in row[2:]] for row in rows])


def test_equals_numpy(per_user):
    found = summarise_by(per_user.where(f"{tables.MODEL} = 'a'"), [tables.MODEL], **ARGUMENTS)["a",].metrics
    assert list(found) == metric_columns(per_user) == ["ndcg@10", "novelty@10"]
    values = values_of(rows_of("a", 1))
    means = replicates(values)
    assert found["ndcg@10"] == interval(means[:, 0], 0.9)
    assert found["novelty@10"] == interval(means[:, 1], 0.9)
    assert found["novelty@10"]["value"] == pytest.approx(np.nanmean(values[:, 1]), abs=1e-8)


def test_bit_equal_for_any_partitioning_and_company(per_user):
    results = [summarise_by(per_user.repartition(n), [tables.MODEL], **ARGUMENTS) for n in (1, 3, 7)]
    assert results[0] == results[1] == results[2]
    assert [(key, group.users) for key, group in results[0].items()] == [(("a",), 300), (("b",), 300), (("c",), 300)]
    alone = summarise_by(per_user.where(f"{tables.MODEL} = 'a'"), [tables.MODEL], **ARGUMENTS)
    assert results[0]["a",] == alone["a",]


def test_paired_differences(per_user):
    pairs = paired_models(per_user, [("b", "a"), ("c", "a")], **ARGUMENTS)
    lifted = pairs["b", "a"]
    # b is a + 0.05 for everyone: no replicate differs, p is the smallest that 101 replicates can show.
    for bound in ("difference", "low", "high"):
        assert lifted["ndcg@10"][bound] == pytest.approx(0.05, abs=1e-8)
    assert lifted["ndcg@10"]["p_value"] == pytest.approx(2 / 102)
    assert lifted["novelty@10"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}
    means = replicates(values_of(rows_of("c", 2)) - values_of(rows_of("a", 1)))
    assert pairs["c", "a"]["ndcg@10"] == difference(means[:, 0], 0.9)
    assert pairs["c", "a"]["ndcg@10"]["low"] < 0 < pairs["c", "a"]["ndcg@10"]["high"]
    assert paired_models(per_user, [], **ARGUMENTS) == {}


def test_models_on_different_users_are_not_compared(per_user):
    without = per_user.where(f"NOT ({tables.MODEL} = 'b' AND {tables.USER_IDX} = 7)")
    with pytest.raises(StageError, match="different users"):
        paired_models(without, [("b", "a")], **ARGUMENTS)


def test_nobody_to_evaluate(per_user):
    nobody = per_user.where("1 = 0")
    assert summarise_by(nobody, [tables.MODEL], **ARGUMENTS) == {}
    assert paired_models(nobody, [("b", "a")], **ARGUMENTS) == {}
