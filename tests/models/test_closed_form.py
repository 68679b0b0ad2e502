"""Closed forms against independent oracles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.config import EASEConfig
from kdspark.errors import ModelError
from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.closed_form import Factors, Popularity, fit_ease, gram
from kdspark.models.ensemble import Ensemble
from tests.models import zoo


def _users(history: list[list[int]]) -> UserBatch:
    rows = len(history)
    return UserBatch.from_numpy(
        np.arange(rows), np.array(history), np.zeros((rows, 0)), np.zeros((rows, 0)), np.zeros((rows, 0))
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 6), min_size=4, max_size=4), min_size=1, max_size=8), st.integers(1, 3))
def test_gram_of_blocks(rows: list[list[int]], block: int) -> None:
    matrix = np.zeros((len(rows), 6))
    for row, items in enumerate(rows):
        for item in items:
            if 0 <= item < 6:
                matrix[row, item] = 1.0
    array = np.array(rows)
    users = np.repeat(np.arange(len(array)), array.shape[1]).reshape(array.shape)
    starts = range(0, len(array), block)
    blocks = [(users[start : start + block].ravel(), array[start : start + block].ravel()) for start in starts]
    np.testing.assert_array_equal(gram(blocks, 6), matrix.T @ matrix)


def test_ease_solves_its_ridge_regression() -> None:
    """Column j of B minimises |X_j - X b|^2 + l2 |b|^2 subject to b_j = 0: solved here column by column."""
    rng = np.random.default_rng(0)
    x_UN = (rng.random((50, 8)) < 0.3).astype(float)
    items = ItemTable.without_features(np.ones(8))
    weights_NN = fit_ease(EASEConfig(l2=3.0), x_UN.T @ x_UN, 50, items).get_buffer("weights").numpy()
    for j in range(8):
        others = [i for i in range(8) if i != j]
        z = x_UN[:, others]
        expected = np.linalg.solve(z.T @ z + 3.0 * np.eye(7), z.T @ x_UN[:, j])
        np.testing.assert_allclose(weights_NN[others, j], expected, atol=1e-6)
        assert weights_NN[j, j] == 0


def test_ease_recency_by_hand() -> None:
    model = fit_ease(EASEConfig(l2=1.0, recency_decay=0.5), np.eye(4), 1, ItemTable.without_features(np.ones(4)))
    x_BN = model.encode_users(_users([[-1, 2, 0, 3], [0, 1, 0, 2], [-1, -1, -1, -1]]), model.encode_items())
    assert x_BN.tolist() == [[0.5, 0, 0.25, 1.0], [0.5, 0.25, 1.0, 0], [0, 0, 0, 0]]


def test_ease_refuses_a_matrix_that_is_none() -> None:
    with pytest.raises(ModelError, match="positive definite"):
        fit_ease(EASEConfig(l2=0.1), -np.eye(3), 1, ItemTable.without_features(np.ones(3)))


def test_popularity_is_the_share_of_events() -> None:
    model = Popularity(1, 3, ItemTable.without_features(np.array([1, 0, 3])))
    assert model.encode_items().flatten().tolist() == [0.25, 0.0, 0.75]


def test_factors_score_by_inner_product() -> None:
    users_UD, items_ND = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[3.0, 4.0], [5.0, -1.0]])
    model = Factors.from_numpy(users_UD, items_ND, ItemTable.without_features(np.ones(2)))
    batch, vectors_ND = _users([[-1], [-1], [-1]]), model.encode_items()
    assert (model.encode_users(batch, vectors_ND) @ vectors_ND.T).tolist() == [[11.0, 3.0], [0.0, 0.0], [0.0, 0.0]]
    assert model.encodable(batch).tolist() == [True, False, False]


def test_ensemble_is_the_weighted_sum_of_z_scores() -> None:
    ensemble, batch = zoo.ZOO["ensemble"](), zoo.batch()
    assert isinstance(ensemble, Ensemble)
    items_ND = ensemble.encode_items()
    found = ensemble.encode_users(batch, items_ND) @ items_ND.T
    allowed, expected = ensemble.allowed(), torch.zeros_like(found)
    for name, weight in (("transformer", 1.0), ("ease", 0.5), ("als", 0.25)):
        member = zoo.ZOO[name]()
        member_ND = member.encode_items()
        scores_BN = (member.encode_users(batch, member_ND) @ member_ND.T).double()
        inside = scores_BN[:, allowed]
        z = (scores_BN - inside.mean(1, keepdim=True)) / inside.std(1, correction=0, keepdim=True)
        expected += weight * torch.where(member.encodable(batch)[:, None], z, 0.0).float()
    difference = found - expected  # constant per user
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), atol=1e-4, rtol=1e-4)
