"""The compiled loops by themselves: what they promise of limits, and what they keep."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdspark.ranking import compiled

scores = st.floats(-100, 100, width=32)
lists = hnp.arrays(np.float32, st.integers(1, 40), elements=scores | st.just(-np.inf))


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=scores), st.integers(1, 40))
def test_the_kth_largest(values, k):
    k = min(k, len(values))
    assert compiled._kth_largest(values.copy(), len(values), k) == np.sort(values)[-k]


@given(lists, st.integers(1, 40), st.sampled_from([1, 4, 128]))
@example(np.array([1e-40, 0, 0], np.float32), 2, 128)  # bins narrower than float32 can divide by
@example(np.array([3e38, -3e38, 0], np.float32), 2, 128)  # and wider than it has numbers
def test_k_values_reach_what_is_nearly_the_kth(values, k, bins):
    found = compiled._nearly_kth_largest(values, len(values), k, np.empty(bins, np.int32))
    finite = np.sort(values[values > -np.inf]).astype(np.float64)
    if len(finite) < k:
        assert found == compiled.LOWEST
        return
    assert found <= finite[-k]
    if bins == 128:  # within the k-th one's bin
        assert found >= finite[-k] - (finite[-1] - finite[0]) / bins * 1.01


@given(lists, st.integers(1, 40), st.integers(1, 40))
def test_infinite_scores_leave_a_limit_that_k_values_reach(values, k, infinite):
    values[:infinite] = np.inf
    found = compiled._nearly_kth_largest(values, len(values), k, np.empty(16, np.int32))
    assert found == compiled.LOWEST if (values > -np.inf).sum() < k else (values >= found).sum() >= k


@given(
    scores,
    st.floats(0, 5, width=32),
    st.sampled_from([0.0, 0.004]),
    hnp.arrays(np.float64, 9, elements=st.floats(-1, 1)),
)
def test_no_item_of_the_best_is_below_the_limit(kth, error, relative, shares):
    """With k true scores at least as good as `kth` can mean, an item below the limit is worse by its own bound."""
    limit = float(compiled._limit(np.float32(kth), np.float32(error), np.float32(relative)))
    least = kth - error - relative * abs(kth)  # of the true k-th best
    for share in shares:
        score = limit - abs(share) * 10 - 1e-4 * abs(limit) - 1e-30
        assert score + error + relative * abs(score) <= least + 1e-4 * (abs(least) + error)


@given(lists, st.integers(1, 12), st.booleans())
def test_shrinking_keeps_the_best_in_order(values, k, exact):
    n = len(values)
    kept_scores, items = values.copy()[None], np.arange(n, dtype=np.int32)[None]
    filled, limits = np.array([n]), np.full(1, compiled.LOWEST)
    arguments = np.zeros(1, np.float32), 0.0, exact, kept_scores, items, filled, limits
    compiled.shrink(k, *arguments, np.empty(n, np.float32), np.empty(16, np.int32))
    left = items[0, : filled[0]].tolist()
    np.testing.assert_array_equal(kept_scores[0, : filled[0]], values[left])
    assert left == sorted(left)
    best = sorted(range(n), key=lambda item: (-values[item], item))[:k]
    if n < k:
        assert left == list(range(n))
    elif exact:
        assert left == sorted(best)
        assert limits[0] > values[best[-1]]
    else:
        assert {item for item in best if values[item] > -np.inf} <= set(left)
        assert limits[0] <= values[best[-1]] or limits[0] == compiled.LOWEST


@given(st.lists(st.integers(0, 199), unique=True, max_size=60), st.integers(1, 2))
def test_marked_items_that_reach_the_limit_are_collected(marked, parts):
    rng = np.random.default_rng(len(marked))
    values = rng.integers(-8, 9, (1, 200)).astype(np.float32)  # exact in bfloat16
    words = values.view(np.uint16) if parts == 2 else np.ascontiguousarray(values.view(np.uint16)[:, 1::2])
    passed = np.zeros((1, 256), np.bool_)
    passed[0, marked] = True
    bits = np.packbits(passed, axis=1, bitorder="little").view(np.uint64)
    held = (
        np.empty((1, 300), np.float32),
        np.empty((1, 300), np.int32),
        np.zeros(1, np.int64),
        np.full(1, 2.0, np.float32),
    )
    rule = np.zeros(1, np.float32), 0.0, True
    none = np.empty((1, 0), np.uint64), np.empty((1200, 0), np.uint64)  # of lists
    scratch = np.empty(300, np.float32), np.empty(8, np.int32)
    compiled.collect(bits, words, parts, 1000, 5, *rule, *held, *scratch, *none)
    expected = [item for item in sorted(marked) if values[0, item] >= 2]
    assert held[1][0, : held[2][0]].tolist() == [1000 + item for item in expected]
    assert held[0][0, : held[2][0]].tolist() == values[0, expected].tolist()


def test_scores_too_close_together_to_tell_are_given_up():
    scores_BC, items_BC = np.empty((1, 8), np.float32), np.empty((1, 8), np.int32)
    filled, limits = np.zeros(1, np.int64), np.full(1, compiled.LOWEST)
    tile = np.ones((1, 64), np.float32).view(np.uint16)
    bits = np.full((1, 1), 2**64 - 1, np.uint64)
    held = scores_BC, items_BC, filled, limits, np.empty(8, np.float32), np.empty(8, np.int32)
    none = np.empty((1, 0), np.uint64), np.empty((64, 0), np.uint64)  # of lists
    compiled.collect(bits, tile, 2, 0, 2, np.ones(1, np.float32), 0.0, False, *held, *none)
    assert (filled[0], limits[0]) == (0, np.inf)


@given(hnp.arrays(np.float32, 12, elements=scores | st.sampled_from([0.0, -0.0])))
def test_keys_order_by_score_and_then_by_item(values):
    keys = np.empty((1, 15), np.uint64)
    items = np.arange(12, dtype=np.int32)[None]
    nothing = np.empty((1, 0), np.float32)
    compiled.candidate_keys(nothing, nothing, True, values[None].copy(), items, np.array([12]), keys)
    found, best = compiled.decode(np.sort(keys, axis=1))
    order = np.lexsort((np.arange(12), -values))
    assert found[0].tolist() == [*order, -1, -1, -1]
    np.testing.assert_array_equal(best[0, :12], values[order])
    assert np.isneginf(best[0, 12:]).all()
