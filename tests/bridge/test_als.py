"""ALS factors: the model that Spark fits, in the rows of our ids, whatever the session's layout."""

import numpy as np
import pytest
from pyspark.ml.recommendation import ALS

from kdspark import tables
from kdspark.bridge.als import fit_als
from kdspark.config import ALSConfig

CONFIG = ALSConfig(rank=3, iterations=3, reg=0.05, alpha=5.0)
N_USERS, N_ITEMS = 14, 12


@pytest.fixture(scope="module")
def events(spark):
    rng = np.random.default_rng(0)
    pairs = [
        (int(user), int(item)) for user, item in zip(rng.integers(0, 12, 90), rng.integers(0, 10, 90), strict=True)
    ]
    return spark.createDataFrame(pairs, f"{tables.USER_IDX} INT, {tables.ITEM_IDX} INT")


def test_factors_are_sparks_own_and_strangers_are_zero(spark, events, tmp_path):
    users, items = fit_als(events, CONFIG, N_USERS, N_ITEMS, 3, tmp_path)
    assert (users.shape, items.shape, users.dtype) == ((N_USERS, 3), (N_ITEMS, 3), np.float32)
    assert not users[12:].any()
    assert not items[10:].any()
    strength = events.groupBy(tables.USER_IDX, tables.ITEM_IDX).count()
    strength = strength.repartition(8, tables.USER_IDX).sortWithinPartitions(tables.USER_IDX, tables.ITEM_IDX)
    columns = {"userCol": tables.USER_IDX, "itemCol": tables.ITEM_IDX, "ratingCol": "count"}
    model = ALS(rank=3, maxIter=3, regParam=0.05, alpha=5.0, implicitPrefs=True, seed=3, **columns).fit(strength)
    predicted = model.transform(strength).toPandas()
    own = (users[predicted[tables.USER_IDX]] * items[predicted[tables.ITEM_IDX]]).sum(1)
    np.testing.assert_allclose(own, predicted["prediction"], atol=1e-4)


def test_the_layout_of_the_events_does_not_matter(events, tmp_path):
    first = fit_als(events.repartition(1), CONFIG, N_USERS, N_ITEMS, 3, tmp_path / "1")
    second = fit_als(events.repartition(5), CONFIG, N_USERS, N_ITEMS, 3, tmp_path / "2")
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
