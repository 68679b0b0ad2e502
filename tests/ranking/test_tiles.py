"""Tiles cover every score once, in ascending order of items, whatever the bound on memory."""

import numpy as np
import pytest

from kdspark.ranking.tiles import USER_TILE, Given, Products, pad_rows, tile_width


@pytest.mark.parametrize("memory_mib", [1, 256])
def test_both_sources_give_the_same_scores(memory_mib):
    rng = np.random.default_rng(0)
    users, items = rng.integers(-9, 9, (300, 3)), rng.integers(-9, 9, (5000, 3))
    scores = (users @ items.T).astype(np.float32)
    for source in (Products(users.astype(np.float32), items.astype(np.float32), memory_mib), Given(scores, memory_mib)):
        for start, rows in ((0, USER_TILE), (USER_TILE, 300 - USER_TILE)):
            tiles = [(first, tile.copy()) for first, tile in source.tiles(start, rows)]
            assert [first for first, _ in tiles] == list(range(0, 5000, source.width))
            whole = np.concatenate([tile for _, tile in tiles], axis=1)
            assert whole.shape == (USER_TILE, 5000)
            np.testing.assert_array_equal(whole[:rows], scores[start : start + rows])


def test_a_caller_may_write_into_a_tile():
    scores = np.ones((1, 3), np.float32)
    for _, tile in Given(scores, 16).tiles(0, 1):
        tile[:] = -np.inf
    assert scores.tolist() == [[1, 1, 1]]


def test_memory_bounds_the_width():
    assert tile_width(9000, 1) == 315
    assert tile_width(9000, 10_000) == 4096
    assert tile_width(0, 16) == 1


def test_pad_rows():
    assert pad_rows(np.ones((2, 1), np.float32), 3).tolist() == [[1], [1], [0]]
    whole = np.ones((3, 1), np.float32)
    assert pad_rows(whole, 3) is whole
