"""Items prepared for searching."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdspark.errors import ModelError
from kdspark.ranking.index import Columns, ItemIndex


@given(hnp.arrays(np.bool_, st.integers(0, 12)), st.lists(st.integers(-3, 15), max_size=8))
def test_columns(allowed, items):
    columns = Columns(len(allowed), allowed)
    kept = np.flatnonzero(allowed).tolist()
    assert len(columns) == len(kept)
    places = columns.places(np.array(items, np.int64))
    assert places.tolist() == [kept.index(item) if item in kept else -1 for item in items]
    back = columns.items(places.astype(np.int32))
    assert back.tolist() == [item if item in kept else -1 for item in items]
    assert Columns(len(allowed), None).places(np.array(items, np.int64)).tolist() == [
        item if 0 <= item < len(allowed) else -1 for item in items
    ]


def test_halves_are_the_allowed_items_less_their_mean():
    rng = np.random.default_rng(0)
    items = (rng.standard_normal((70_000, 3)) + np.array([5, 0, -2])).astype(np.float32)
    allowed = rng.random(70_000) < 0.99
    index = ItemIndex(items, allowed, halves=True)
    assert index.halves_MD is not None
    np.testing.assert_array_equal(index.allowed_MD, items[allowed])
    rounded = index.halves_MD.double().numpy()
    shift = np.median(items[allowed] - rounded, axis=0)  # the mean, as it was rounded: the same for all items
    np.testing.assert_allclose(shift, items[allowed].mean(axis=0, dtype=np.float64), atol=1e-3)
    mean = torch.from_numpy(items[allowed]).mean(dim=0).double().numpy()
    moved = np.linalg.norm(rounded - (items[allowed] - mean), axis=1).max()
    assert index.longest == pytest.approx(np.linalg.norm(rounded, axis=1).max(), rel=1e-5)
    assert moved <= index.moved * 1.001 < moved * 1.01
    assert index.largest == np.abs(items[allowed]).max()


def test_without_halves_or_items():
    assert ItemIndex(np.ones((2, 2)), None, halves=False).halves_MD is None
    empty = ItemIndex(np.ones((2, 2)), np.zeros(2, np.bool_), halves=True)
    assert empty.halves_MD is not None
    assert empty.halves_MD.shape == (0, 2)


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(ModelError, match="item vector in row 1 is not finite"):
        ItemIndex(np.array([[1.0], [np.nan]]))
