"""Tiles cover every score once, in ascending order of items, whatever the bound on memory."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdspark.ranking.index import Columns, ItemIndex
from kdspark.ranking.tiles import (
    USER_TILE,
    Exact,
    Given,
    Halves,
    Products,
    halves_below,
    in_order,
    tile_width,
    tiles,
)

halves = hnp.arrays(np.int16, 20).filter(lambda bits: bool(np.isfinite(as_floats(bits)).all()))


def as_floats(bits):
    return torch.from_numpy(bits.copy()).view(torch.bfloat16).float().numpy()


def sources(users, items, allowed=None):
    index = ItemIndex(items, allowed, halves=True)
    columns = Columns(len(items), allowed)
    return [Halves(users, index), Products(users, index), Exact(users, index), Given(users @ items.T, columns)]


@pytest.mark.parametrize("memory_mib", [1, 256])
@pytest.mark.parametrize("some", [True, False])
def test_all_sources_give_the_same_scores(memory_mib, some):
    """Small whole numbers are exact even in bfloat16; `Halves` are less each user's score of the mean item."""
    rng = np.random.default_rng(0)
    users = rng.integers(-3, 4, (300, 3)).astype(np.float32)
    items = rng.integers(-3, 4, (2500, 3)).astype(np.float32)
    items = np.concatenate([items, -items])
    allowed = np.arange(5000) % 2500 % 3 > 0 if some else None
    scores = (users @ items.T)[:, slice(None) if allowed is None else allowed]
    for source in sources(users, items, allowed):
        width = tile_width(source, memory_mib)
        buffer = np.empty(USER_TILE * width, source.dtype)
        for part in (slice(0, USER_TILE), slice(USER_TILE, 300)):
            found = [(first, tile.copy()) for first, tile in tiles(source, width, part, buffer)]
            assert [first for first, _ in found] == list(range(0, source.n_items, width))
            whole = np.concatenate([tile for _, tile in found], axis=1)
            whole = as_floats(whole) if source.dtype == np.int16 else whole
            np.testing.assert_array_equal(whole, scores[part])


def test_rough_scores_are_as_near_as_they_say():
    rng = np.random.default_rng(1)
    for scale in (1e-3, 1.0, 1e4):
        users = (rng.standard_normal((40, 48)) * scale).astype(np.float32)
        items = (rng.standard_normal((700, 48)) + rng.standard_normal(48) * 3).astype(np.float32)
        index = ItemIndex(items, None, halves=True)
        mean = items.mean(axis=0, dtype=np.float64)
        truth = {Halves: users @ (items - mean).T, Products: users.astype(np.float64) @ items.astype(np.float64).T}
        for kind, true in truth.items():
            source = kind(users, index)
            tile = np.empty((40, 700), source.dtype)
            source.fill(slice(0, 40), slice(0, 700), tile)
            rough = as_floats(tile) if kind is Halves else tile
            off = np.abs(rough - true) - source.relative * np.abs(rough)
            assert (off <= source.error_B[:, None]).all()
            assert (source.error_B > 0).all()
            if kind is Halves:  # a bound that is far too wide would prune nothing
                assert source.error_B.max() < 0.02 * np.abs(true).max()


@pytest.mark.parametrize("limit", [-1e30, -2.5, -0.0, 0.0, 1e-20, 2.5, 3.0, np.inf])
def test_scores_that_reach_a_limit_are_marked(limit):
    rng = np.random.default_rng(2)
    scores = np.concatenate([rng.standard_normal((4, 62)) * 3, np.full((4, 2), -np.inf)], axis=1).astype(np.float32)
    for kind in (Halves, Products):
        (source,) = [one for one in sources(scores[:, :3], scores[:, :3]) if type(one) is kind]
        tile = torch.from_numpy(scores).bfloat16().view(torch.int16).numpy() if kind is Halves else scores
        values = as_floats(tile) if kind is Halves else scores
        above = np.empty(tile.shape, np.bool_)
        source.reaching(tile, np.full(4, limit, np.float32), above)
        reach = values >= np.float32(limit)
        assert (above | ~reach).all()
        assert (values[above & ~reach] > limit - 0.02 * abs(limit) - 1e-30).all()


@pytest.mark.parametrize("kind", [0, 1])
def test_maxima_are_of_groups_that_share_nothing(kind):
    users = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    items = np.stack([np.arange(-6, 7), np.zeros(13)], axis=1).astype(np.float32)
    source = sources(users, items)[kind]
    tile = np.empty((2, 13), source.dtype)
    source.fill(slice(0, 2), slice(0, 13), tile)
    assert source.maxima(tile, 4).tolist() == [[2, 3, 4, 5], [6, 5, 4, 3]]  # of columns 0, 4, 8; 1, 5, 9; ...
    source.masked(tile, np.array([0, 0, 0, 0]), np.array([0, 4, 8, 11]))
    assert source.maxima(tile, 4).tolist() == [[-np.inf, 3, 4, 1], [6, 5, 4, 3]]


def test_a_caller_may_write_into_a_tile():
    scores = np.ones((1, 3), np.float32)
    for _, tile in tiles(Given(scores, Columns(3, None)), 3, slice(0, 1), np.empty(3, np.float32)):
        tile[:] = -np.inf
    assert scores.tolist() == [[1, 1, 1]]


def test_memory_bounds_the_width():
    users, items = np.ones((1, 4), np.float32), np.ones((9000, 4), np.float32)
    rough, single, exact, _ = sources(users, items)
    assert [tile_width(one, 1) for one in (rough, single, exact)] == [819, 819, 315]
    assert tile_width(single, 10_000) == 4096
    assert tile_width(Given(np.empty((0, 0), np.float32), Columns(0, None)), 16) == 1


@given(halves, halves)
def test_bits_in_order_are_in_the_order_of_the_numbers(one, other):
    first, second = as_floats(one), as_floats(other)
    assert (((in_order(one) < in_order(other)) >= (first < second)) | (first == second)).all()
    np.testing.assert_array_equal(in_order(in_order(one)), one)


@given(hnp.arrays(np.float32, 20, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_the_half_below_is_not_above_and_near(values):
    below = as_floats(halves_below(values))
    assert (below <= values).all()
    assert (below >= values - np.abs(values) * 2.0**-6 - 2.0**-125).all()
