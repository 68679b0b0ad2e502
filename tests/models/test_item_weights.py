"""Pruned closed forms against the dense ones, solved another way."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.config import EASEConfig, GFCFConfig
from kdspark.errors import ModelError
from kdspark.models import item_weights
from kdspark.models.batch import ItemTable
from kdspark.models.closed_form import fit_ease
from kdspark.models.item_weights import ease_weights, gfcf_weights, interaction_matrix


def events(n_users: int, n_items: int, seed: int = 0) -> sp.csr_matrix:
    return sp.csr_matrix((np.random.default_rng(seed).random((n_users, n_items)) < 0.3).astype(np.float32))


def dense_ease(matrix: sp.csr_matrix, l2: float) -> np.ndarray:
    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    items = ItemTable.without_features(np.ones(matrix.shape[1]))
    return fit_ease(EASEConfig(l2=l2), gram, matrix.shape[0], items).get_buffer("weights").numpy()


def dense_gfcf(matrix: sp.csr_matrix, rank: int, alpha: float) -> np.ndarray:
    x = matrix.toarray().astype(np.float64)
    users, items = x.sum(1), x.sum(0)
    normal = x / np.sqrt(np.outer(np.where(users > 0, users, 1), np.where(items > 0, items, 1)))
    v = np.linalg.svd(normal)[2][:rank].T
    d = np.sqrt(np.where(items > 0, items, 1))
    weights = normal.T @ normal + alpha * (v / d[:, None]) @ (v * d[:, None]).T
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("shape", [(60, 20), (20, 60), (30, 30)])  # by items, by users
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_ease_with_all_weights_is_dense_ease(
    shape: tuple[int, int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_weights, "_BLOCK_FLOATS", block)
    matrix = events(*shape)
    found = ease_weights(EASEConfig(l2=3.0), matrix, keep=10_000).toarray()
    np.testing.assert_allclose(found, dense_ease(matrix, 3.0), atol=2e-5)


def test_the_largest_weights_of_each_item_are_kept() -> None:
    matrix = events(60, 20)
    whole, found = dense_ease(matrix, 3.0), ease_weights(EASEConfig(l2=3.0), matrix, keep=5)
    assert np.diff(found.indptr).tolist() == [5] * 20
    for row in range(20):
        largest = np.sort(np.argsort(-np.abs(whole[row]))[:5])
        assert found[row].indices.tolist() == largest.tolist()
        np.testing.assert_allclose(found[row].data, whole[row, largest], atol=2e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 5), st.floats(0, 2))
def test_gfcf_is_its_definition(seed: int, rank: int, alpha: float) -> None:
    matrix = events(25, 18, seed)
    singular = np.linalg.svd(matrix.toarray())[1]
    assert singular[rank - 1] > singular[rank]  # else the leading vectors are not unique
    found = gfcf_weights(GFCFConfig(rank=rank, alpha=alpha), matrix, 10_000, seed).toarray()
    np.testing.assert_allclose(found, dense_gfcf(matrix, rank, alpha), atol=1e-4)


def test_gfcf_finds_the_leading_subspace_of_a_large_log() -> None:
    matrix = events(400, 300)  # many more than the vectors that the iteration keeps
    found = gfcf_weights(GFCFConfig(rank=4, alpha=1.0), matrix, 10_000, 0).toarray()
    exact, linear = dense_gfcf(matrix, 4, 1.0), dense_gfcf(matrix, 4, 0.0)
    assert np.linalg.norm(found - exact) < 0.1 * np.linalg.norm(exact - linear)  # the low-pass part is there


def test_items_without_events_have_no_weights() -> None:
    matrix = events(30, 12).tolil()
    matrix[:, 4] = 0
    for weights in (
        ease_weights(EASEConfig(l2=1.0), matrix.tocsr(), 12),
        gfcf_weights(GFCFConfig(rank=3), matrix.tocsr(), 12, 0),
    ):
        assert weights[4].nnz == 0
        assert weights[:, 4].nnz == 0


def test_what_cannot_be_solved_is_refused() -> None:
    with pytest.raises(ModelError, match="rank"):
        gfcf_weights(GFCFConfig(rank=12), events(30, 12), 5, 0)
    with pytest.raises(ModelError, match="positive definite"):
        item_weights._inverse(sp.csr_matrix(-np.eye(4)), 0.5)


def test_events_of_all_blocks_count_once() -> None:
    blocks = [(np.array([0, 0, 0]), np.array([1, 1, 2])), (np.array([2]), np.array([0]))]
    assert interaction_matrix(blocks, 3, 4).toarray().tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
