"""Inner products of pairs against exact rational arithmetic, and the bound against what float32 really does."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdspark.ranking import products
from kdspark.ranking.products import pair_scores, rounding_bound
from kdspark.tables import PAD

numbers = st.floats(-1e6, 1e6, width=32)


def exact(user, item):
    return sum((Fraction(float(u)) * Fraction(float(i)) for u, i in zip(user, item, strict=True)), Fraction(0))


@given(hnp.arrays(np.float32, (2, 5), elements=numbers), hnp.arrays(np.float32, (3, 5), elements=numbers))
def test_scores_are_exact_products_rounded_once(users, items):
    scores = pair_scores(users, items, np.array([[0, PAD, 2], [1, 1, PAD]]))
    for row, pairs in enumerate([{0: 0, 2: 2}, {0: 1, 1: 1}]):
        for column, item in pairs.items():
            truth = exact(users[row], items[item])
            near = np.nextafter(np.float32(float(truth)), np.array([-np.inf, np.inf], np.float32))
            magnitude = float(np.abs(users[row].astype(float) * items[item]).sum())
            assert near[0] <= scores[row, column] <= near[1] or abs(scores[row, column]) <= 1e-15 * magnitude
    assert scores[0, 1] == scores[1, 2] == 0


def test_neither_the_batch_nor_its_order_matters(monkeypatch):
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((40, 33), np.float32), rng.standard_normal((90, 33), np.float32)
    pairs = rng.integers(0, 90, (40, 21))
    scores, order = pair_scores(users, items, pairs), rng.permutation(40)
    monkeypatch.setattr(products, "_CHUNK_FLOATS", 33 * 21 * 3)
    np.testing.assert_array_equal(pair_scores(users[order], items, pairs[order]), scores[order])


def test_no_items():
    assert pair_scores(np.ones((2, 3), np.float32), np.empty((0, 3), np.float32), np.full((2, 4), PAD)).sum() == 0


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.sampled_from([1e-20, 1.0, 1e15]))
def test_float32_products_stay_within_the_bound(dims, seed, scale):
    rng = np.random.default_rng(seed)
    users = (rng.standard_normal((5, dims)) * scale).astype(np.float32)
    items = rng.standard_normal((7, dims)).astype(np.float32)
    truth = users.astype(np.float64) @ items.astype(np.float64).T
    order = rng.permutation(dims)  # any order of summation
    one_by_one = np.zeros((5, 7), np.float32)
    for column in order:
        one_by_one += users[:, column, None] * items[None, :, column]
    bound = rounding_bound(users, items)[:, None]
    slack = np.spacing(np.abs(truth).astype(np.float32)).astype(np.float64) if dims == 1 else 0.0
    assert (np.abs(users @ items.T - truth) <= bound + slack).all()
    assert (np.abs(one_by_one - truth) <= bound + slack).all()


def test_nothing_is_off_where_there_is_nothing_to_sum():
    items = np.array([[3.0, 4.0]], np.float32)
    assert rounding_bound(np.zeros((1, 2), np.float32), items).tolist() == [0]
    assert rounding_bound(np.ones((1, 2), np.float32), np.zeros((4, 2), np.float32)).tolist() == [0]
    assert rounding_bound(np.ones((1, 2), np.float32), np.empty((0, 2), np.float32)).tolist() == [0]
    assert rounding_bound(np.full((1, 1), 7, np.float32), items[:, :1]).tolist() == [0]
