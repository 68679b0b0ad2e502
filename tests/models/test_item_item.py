"""Sparse item-item scores by hand, and against the same weights kept dense."""

import numpy as np
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.config import EASEConfig
from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.closed_form import EASE
from kdspark.models.ensemble import Ensemble
from kdspark.models.item_item import ItemItem, history_matrix
from tests.models import zoo

WEIGHTS = np.array([[0, 2.0, 0], [1.0, 0, 4.0], [0, 8.0, 0]], np.float32)


def users(history: list[list[int]]) -> UserBatch:
    nothing = np.zeros((len(history), 0))
    return UserBatch.from_numpy(np.arange(len(history)), np.array(history), nothing, nothing, nothing)


def test_scores_by_hand_and_an_item_that_is_new() -> None:
    items = ItemTable.without_features(np.ones(4))
    model = ItemItem(EASEConfig(keep=3, recency_decay=0.5), sp.csr_matrix(WEIGHTS), 2, items)
    scores = model.score_users(users([[-1, 0, 1], [2, 0, 2], [-1, -1, 3]]), model.encode_items())
    assert scores.tolist() == [[1.0, 1.0, 4.0, 0.0], [0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert model.n_params == 4
    assert not model.factorised


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 5), min_size=4, max_size=4), min_size=1, max_size=6), st.floats(0.1, 1))
def test_histories_as_dense_ease_reads_them(histories: list[list[int]], decay: float) -> None:
    dense = EASE(EASEConfig(recency_decay=decay), torch.zeros(5, 5), 2, ItemTable.without_features(np.ones(5)))
    expected = dense.encode_users(users(histories), dense.encode_items())
    np.testing.assert_allclose(history_matrix(users(histories), 5, decay).toarray(), expected.numpy(), rtol=1e-6)


def test_an_ensemble_sums_the_same_z_scores_whether_its_members_are_inner_products_or_not() -> None:
    dense = zoo.ZOO["ease"]()
    weights = sp.csr_matrix(dense.get_buffer("weights").numpy())
    sparse = ItemItem(EASEConfig(l2=5.0, recency_decay=0.9, keep=29), weights, zoo.N_USERS, zoo.items())
    batch, found = zoo.batch(), []
    for member in (dense, sparse):
        ensemble = Ensemble([member, zoo.ZOO["als"]()], [1.0, 0.5], zoo.items()).eval()
        assert ensemble.factorised == member.factorised
        found.append(ensemble.score_users(batch, ensemble.encode_items()))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
