"""The kernel against a brute-force oracle: float64 products, lexsort, masks as dense matrices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.errors import ModelError
from kdspark.ranking import index as index_module
from kdspark.ranking import tiles, topk
from kdspark.ranking.index import ItemIndex
from kdspark.ranking.topk import top_k, top_k_of_scores


@pytest.fixture(scope="module", autouse=True, params=[tiles.Halves, tiles.Products])
def first_look(request):
    """Both ways to begin, whatever this processor is good at and however few the users are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "halves_are_fast", lambda: request.param is tiles.Halves)
        patch.setattr(topk, "_MANY_USERS", 0)
        yield request.param


def oracle(users, items, k, seen=None, allowed=None):
    scores = users.astype(np.float64) @ items.astype(np.float64).T
    left_out = np.zeros(scores.shape, bool)
    if seen is not None:
        for row, (start, stop) in enumerate(zip(seen[0][:-1], seen[0][1:], strict=True)):
            left_out[row, [item for item in seen[1][start:stop] if 0 <= item < len(items)]] = True
    if allowed is not None:
        left_out[:, ~allowed] = True
    expected = np.full((len(users), k), -1)
    for row in range(len(users)):
        order = np.lexsort((np.arange(len(items)), -scores[row]))
        kept = [item for item in order if not left_out[row, item]][:k]
        expected[row, : len(kept)] = kept
    return expected, scores


def csr(lists):
    return np.cumsum([0, *map(len, lists)]), np.array([item for one in lists for item in one], np.int64)


@st.composite
def problems(draw):
    """Small integer vectors: exact in float32 whatever the order of summation, and full of ties."""
    n_users, n_items, dims = draw(st.integers(1, 9)), draw(st.integers(1, 60)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([1, 2, 50]))
    users = rng.integers(-spread, spread + 1, (n_users, dims)).astype(np.float32)
    items = rng.integers(-spread, spread + 1, (n_items, dims)).astype(np.float32)
    lists = [rng.integers(-2, n_items + 3, rng.integers(0, n_items + 1)).tolist() for _ in range(n_users)]
    seen = csr(lists) if draw(st.booleans()) else None
    allowed = rng.random(n_items) < 0.7 if draw(st.booleans()) else None
    return users, items, draw(st.integers(1, 70)), seen, allowed, draw(st.sampled_from([1, 2, 7, 4096]))


@settings(max_examples=300, deadline=None)
@given(problems())
def test_equals_brute_force_with_ties_masks_and_any_tile(problem):
    users, items, k, seen, allowed, tile = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_MAX_ITEM_TILE", tile)
        found, scores = top_k(users, items, k, seen, allowed)
        given, given_scores = top_k_of_scores(users @ items.T, k, seen, allowed)
    expected, exact = oracle(users, items, k, seen, allowed)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(given, expected)
    np.testing.assert_array_equal(given_scores, scores)
    present = expected >= 0
    rows = np.nonzero(present)[0]
    np.testing.assert_array_equal(scores[present], exact[rows, expected[present]].astype(np.float32))
    assert np.all(np.isneginf(scores[~present]))
    assert found.dtype == np.int32
    assert scores.dtype == np.float32


@pytest.mark.parametrize(("n_items", "k"), [(9000, 10), (9000, 300), (5000, 4999)])
def test_equals_brute_force_on_real_vectors_over_several_tiles(n_items, k):
    rng = np.random.default_rng(3)
    users = rng.standard_normal((300, 16)).astype(np.float32)
    items = rng.standard_normal((n_items, 16)).astype(np.float32)
    found, scores = top_k(users, items, k)
    exact = users.astype(np.float64) @ items.astype(np.float64).T
    best = -np.sort(-exact, axis=1)[:, :k]
    np.testing.assert_allclose(scores, best, atol=1e-4)
    np.testing.assert_allclose(np.take_along_axis(exact, found.astype(np.int64), axis=1), scores, atol=1e-4)
    assert all(len(set(row)) == k for row in found.tolist())


def test_scores_that_rise_with_the_item_defeat_pruning_but_not_the_result():
    items = np.arange(20_000, dtype=np.float32)[:, None]
    found, _ = top_k(np.ones((2, 1), np.float32), items, 5)
    assert found.tolist() == [[19_999, 19_998, 19_997, 19_996, 19_995]] * 2


def test_all_tied_gives_the_first_items():
    found, scores = top_k(np.zeros((3, 4), np.float32), np.ones((10_000, 4), np.float32), 4)
    assert found.tolist() == [[0, 1, 2, 3]] * 3
    assert (scores == 0).all()


def test_minus_zero_ties_with_zero():
    found, _ = top_k(np.array([[-1.0]]), np.array([[0.0], [-0.0], [1.0]]), 3)
    assert found.tolist() == [[0, 1, 2]]


def test_a_list_does_not_depend_on_the_other_users_of_the_call():
    rng = np.random.default_rng(5)
    users = rng.standard_normal((700, 33)).astype(np.float32)
    items = rng.standard_normal((5003, 33)).astype(np.float32)
    found, scores = top_k(users, items, 20)
    order = rng.permutation(700)
    shuffled_items, shuffled_scores = top_k(users[order], items, 20)
    np.testing.assert_array_equal(shuffled_items, found[order])
    np.testing.assert_array_equal(shuffled_scores.view(np.int32), scores[order].view(np.int32))
    for row in (0, 17, 699):
        alone_items, alone_scores = top_k(users[row : row + 1], items, 20)
        np.testing.assert_array_equal(alone_items[0], found[row])
        np.testing.assert_array_equal(alone_scores[0].view(np.int32), scores[row].view(np.int32))


@pytest.fixture
def scans(monkeypatch):
    """(users, kind of scores) of every scan of the catalogue."""
    found, scan = [], topk._Scan

    def spy(source, *rest):
        found.append((source.n_users, type(source)))
        return scan(source, *rest)

    monkeypatch.setattr(topk, "_Scan", spy)
    return found


def test_distinct_scores_need_one_scan(scans, first_look):
    rng = np.random.default_rng(1)
    top_k(rng.standard_normal((500, 32)), rng.standard_normal((3000, 32)), 20)
    assert scans == [(500, first_look)]


def test_equal_items_at_the_end_of_a_list_are_told_apart_by_finer_scans(scans, first_look):
    rng = np.random.default_rng(2)
    items = np.repeat(rng.standard_normal((10, 33)), 400, axis=0).astype(np.float32)
    users = rng.standard_normal((6, 33)).astype(np.float32)
    seen = csr([[0], [], range(3000), range(4000), [5, 7], [3999]])
    found, scores = top_k(users, items, 30, seen)
    # who has seen everything needs no second look
    assert scans == [(6, first_look), *([(5, tiles.Products)] if first_look is tiles.Halves else []), (5, tiles.Exact)]
    expected, exact = oracle(users, items, 30, seen)
    groups = np.where(found < 0, -1, found // 400)
    np.testing.assert_array_equal(groups, np.where(expected < 0, -1, expected // 400))
    for row in (0, 1, 2, 4, 5):
        own = set(seen[1][seen[0][row] : seen[0][row + 1]])
        unseen = [item for item in range(groups[row, 0] * 400, groups[row, 0] * 400 + 400) if item not in own]
        assert found[row].tolist() == unseen[:30]
        np.testing.assert_array_equal(scores[row], exact[row, found[row]].astype(np.float32))


def test_what_rough_scores_confuse_is_ordered_by_the_true_ones(monkeypatch, first_look):
    """Scores that are off by as much as the bound allows change nothing."""
    rng = np.random.default_rng(4)
    users, items = rng.standard_normal((64, 24), np.float32), rng.standard_normal((4000, 24), np.float32)
    expected, scores = top_k(users, items, 25)
    np.testing.assert_array_equal(expected, oracle(users, items, 25)[0])
    exact = users.astype(np.float64) @ items.astype(np.float64).T

    def noisy(source, rows, columns, tile):
        noise = exact[rows, columns] + rng.uniform(-0.9, 0.9, tile.shape) * source.error_B[rows][:, None]
        halved = torch.from_numpy(noise - 1).bfloat16().view(torch.int16).numpy()  # rounded, and moved as all may be
        tile[...] = noise if source.dtype == np.float32 else halved

    monkeypatch.setattr(first_look, "fill", noisy)
    again, same = top_k(users, items, 25)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(same, scores)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_the_users(threads):
    rng = np.random.default_rng(6)
    users, items = rng.standard_normal((1000, 17), np.float32), rng.standard_normal((5000, 17), np.float32)
    seen = csr([rng.integers(0, 5000, size).tolist() for size in rng.integers(0, 40, 1000)])
    for one, other in zip(top_k(users, items, 12, seen), top_k(users, items, 12, seen, threads=threads), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_index_answers_as_its_vectors_do(first_look):
    rng = np.random.default_rng(7)
    users, items = rng.standard_normal((90, 9), np.float32), rng.standard_normal((800, 9), np.float32)
    allowed = rng.random(800) < 0.3
    index = ItemIndex(items, allowed)
    assert (index.halves_MD is not None) == (first_look is tiles.Halves)
    for one, other in zip(top_k(users, index, 20), top_k(users, items, 20, allowed_N=allowed), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [1e18, 1e25, 1e34])
def test_vectors_whose_squares_overflow(first_look, size):
    rng = np.random.default_rng(11)
    users = rng.integers(1, 4, (70, 6)).astype(np.float32)  # which bfloat16 has exactly
    items = rng.standard_normal((400, 6), np.float32) * np.float32(size)
    items[:200] = np.abs(items[:200]) * np.float32(50)  # so does their sum
    found, scores = top_k(users, items, 15)
    expected, exact = oracle(users, items, 15)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, expected, axis=1).astype(np.float32))


def test_a_user_who_has_seen_everything_gets_padding_and_costs_the_others_nothing():
    users, items = np.ones((2, 1), np.float32), np.arange(50, dtype=np.float32)[:, None]
    found, scores = top_k(users, items, 3, (np.array([0, 50, 50]), np.arange(50)))
    assert found.tolist() == [[-1, -1, -1], [49, 48, 47]]
    assert np.isneginf(scores[0]).all()


def test_no_users_and_no_items():
    assert top_k(np.empty((0, 2)), np.ones((3, 2)), 4)[0].shape == (0, 4)
    assert top_k(np.ones((2, 2)), np.empty((0, 2)), 2)[0].tolist() == [[-1, -1]] * 2


def test_memory_bounds_the_tile_and_not_the_result():
    rng = np.random.default_rng(8)
    users, items = rng.integers(-9, 9, (4, 3)), rng.integers(-9, 9, (9000, 3))
    np.testing.assert_array_equal(top_k(users, items, 9, memory_mib=1)[0], top_k(users, items, 9)[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_scores_are_refused(bad):
    scores = np.zeros((3, 4), np.float32)
    scores[1, 2] = bad
    with pytest.raises(ModelError, match="row of scores in row 1"):
        top_k_of_scores(scores, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_non_finite_vectors_are_refused_and_named(bad, side):
    vectors = [np.ones((3, 2), np.float32), np.ones((4, 2), np.float32)]
    vectors[side][2, 1] = bad
    with pytest.raises(ModelError, match=f"{['user', 'item'][side]} vector in row 2"):
        top_k(*vectors, 1)


def test_finite_vectors_whose_product_overflows_are_refused():
    with pytest.raises(ModelError, match="overflows"):
        top_k(np.full((1, 2), 1e30), np.full((3, 2), 1e30), 1)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"k": 0}, "k is 0"),
        ({"items": np.ones((3, 5))}, "do not fit"),
        ({"seen": (np.array([0, 0]), np.array([], int))}, "Seen items of 1 users given for 2"),
        ({"allowed_N": np.ones(2, bool)}, "allowed items"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, match):
    given = {"users_BD": np.ones((2, 4)), "items": np.ones((3, 4)), "k": 2, **arguments}
    with pytest.raises(ModelError, match=match):
        top_k(**given)
