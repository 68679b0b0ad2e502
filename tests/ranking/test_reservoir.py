"""Keys order as (score descending, item ascending), and the k best survive any way of offering."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kdspark.ranking.reservoir import Reservoir, decode, encode

scores = st.floats(allow_nan=False, width=32)


@given(st.lists(st.tuples(scores, st.integers(0, 2**31 - 1)), min_size=1, max_size=50))
def test_keys_order_as_score_then_item(pairs):
    values = np.array([score for score, _ in pairs], np.float32)
    items = np.array([item for _, item in pairs])
    keys = encode(values, items)
    by_key = np.argsort(keys, kind="stable")
    by_value = np.lexsort((items, -(values + np.float32(0))))
    np.testing.assert_array_equal(keys[by_key], keys[by_value])
    found_items, found_scores = decode(keys)
    np.testing.assert_array_equal(found_items, items)
    np.testing.assert_array_equal(found_scores, values)


@given(
    st.integers(1, 6),
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 3)), max_size=60), min_size=1, max_size=6),
)
def test_the_best_survive(k, offers):
    reservoir, everything, item = Reservoir(3, k), [[], [], []], 0
    for offer in offers:
        rows, keys = [], []
        for user, score in sorted(offer, key=lambda pair: pair[0]):
            everything[user].append((-score, item))
            if score > reservoir.threshold_B[user]:
                rows.append(user)
                keys.append(encode(np.array([score], np.float32), np.array([item]))[0])
            item += 1
        reservoir.add(np.array(rows, np.int64), np.array(keys, np.uint64))
    items, found = reservoir.best()
    for user in range(3):
        best = sorted(everything[user])[:k]
        missing = k - len(best)
        assert items[user].tolist() == [number for _, number in best] + [-1] * missing
        assert found[user].tolist() == [-negative for negative, _ in best] + [-np.inf] * missing
