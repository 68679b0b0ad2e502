"""Lists that withhold items from users who are subject to them, against a dense mask and lexsort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.errors import ModelError
from kdspark.ranking import index as index_module
from kdspark.ranking import tiles
from kdspark.ranking.index import ItemIndex
from kdspark.ranking.topk import top_k
from tests.ranking.lists import words


@pytest.fixture(scope="module", autouse=True, params=[True, False])
def halves(request):
    """Both ways to begin, whatever this processor is good at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "halves_are_fast", lambda: request.param)
        yield request.param


def expected(users, items, k, out_BN):
    scores = np.where(out_BN, -np.inf, users.astype(np.float64) @ items.astype(np.float64).T)
    order = np.lexsort((np.broadcast_to(np.arange(len(items)), scores.shape), -scores), axis=1)[:, :k]
    found = np.where(np.isneginf(np.take_along_axis(scores, order, axis=1)), -1, order)
    return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 80), st.integers(1, 9)),
    lists=st.sampled_from([1, 3, 64, 65, 130]),
    share=st.sampled_from([0.02, 0.5, 0.98]),
    k=st.integers(1, 40),
    tile=st.sampled_from([1, 7, 4096]),
)
def test_equals_brute_force(seed, shape, lists, share, k, tile):
    rng = np.random.default_rng(seed)
    n_users, n_items, dims = shape
    users = rng.integers(-3, 4, (n_users, dims)).astype(np.float32)  # full of ties
    items = rng.integers(-3, 4, (n_items, dims)).astype(np.float32)
    withheld_NL, subject_BL = rng.random((n_items, lists)) < share, rng.random((n_users, lists)) < 2 / lists
    allowed = rng.random(n_items) < 0.8
    index = ItemIndex(items, allowed, withheld_NX=words(withheld_NL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_MAX_ITEM_TILE", tile)
        found, _ = top_k(users, index, k, subject_BX=words(subject_BL))
    out_BN = (subject_BL.astype(int) @ withheld_NL.T.astype(int) > 0) | ~allowed
    np.testing.assert_array_equal(found, expected(users, items, k, out_BN))


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_over_several_tiles_with_the_best_withheld(share):
    rng = np.random.default_rng(3)
    users, items = rng.standard_normal((300, 16), np.float32), rng.standard_normal((9000, 16), np.float32)
    best_first = np.argsort(-(users[0] @ items.T))
    withheld = np.zeros((9000, 1), bool)
    withheld[best_first[: int(9000 * share)]] = True
    subject = np.arange(300)[:, None] % 2 == 0
    found, _ = top_k(users, ItemIndex(items, withheld_NX=words(withheld)), 20, subject_BX=words(subject))
    np.testing.assert_array_equal(found, expected(users, items, 20, subject & withheld.T))


def test_lists_that_do_not_fit_the_index_are_refused():
    index = ItemIndex(np.ones((3, 2), np.float32))
    with pytest.raises(ModelError, match="do not fit"):
        top_k(np.ones((2, 2), np.float32), index, 1, subject_BX=np.zeros((2, 1), np.uint64))
