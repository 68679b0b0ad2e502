"""Propagation against the dense formula, its gradient against torch's own, and users who come after training."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from kdspark.config import LightGCNConfig
from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.lightgcn import LightGCN

# user 3 and item 4 have no edge
EDGES = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.float32)
USERS, ITEMS = EDGES.shape


def network(layers: int = 3) -> LightGCN:
    table = ItemTable.without_features(np.ones(ITEMS, int))
    return LightGCN(LightGCNConfig(dim=6, layers=layers), sp.csr_matrix(EDGES), table, seed=4)


def dense_adjacency() -> np.ndarray:
    whole = np.block([[np.zeros((USERS, USERS)), EDGES], [EDGES.T, np.zeros((ITEMS, ITEMS))]])
    degree = whole.sum(axis=1)
    inverse = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return inverse[:, None] * whole * inverse


def users_with(histories: list[list[int]], first: int = -1) -> UserBatch:
    empty = np.empty((len(histories), 0))
    users = np.full(len(histories), -1) if first < 0 else np.arange(first, first + len(histories))
    return UserBatch.from_numpy(users, np.array(histories), empty, empty, empty)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_propagation_is_the_mean_of_the_powers_of_the_dense_adjacency(layers: int) -> None:
    model, adjacency = network(layers), dense_adjacency()
    start = model.vectors.detach().numpy()
    powers = [np.linalg.matrix_power(adjacency, k) @ start for k in range(layers + 1)]
    smoothed, before = (tensor.detach().numpy() for tensor in model.propagate())
    np.testing.assert_allclose(smoothed, sum(powers) / (layers + 1), atol=1e-6)
    np.testing.assert_allclose(before, sum(powers[:-1]) / (layers + 1), atol=1e-6)


def test_its_gradient_is_that_of_the_dense_product() -> None:
    model, adjacency = network(), torch.from_numpy(dense_adjacency()).float()
    weights = torch.randn(model.vectors.shape, generator=torch.Generator().manual_seed(2))
    (model.propagate()[0] * weights).sum().backward()
    assert model.vectors.grad is not None
    start = model.vectors.detach().clone().requires_grad_()
    total = layer = start
    for _ in range(3):
        layer = adjacency @ layer
        total = total + layer
    (total / 4 * weights).sum().backward()
    torch.testing.assert_close(model.vectors.grad, start.grad)


def test_frozen_tables_score_as_the_network_and_are_zero_without_an_edge() -> None:
    model = network()
    smoothed = model.propagate()[0].detach()
    frozen, batch = model.frozen(), users_with([[-1]] * USERS, first=0)
    items_ND = frozen.encode_items()
    torch.testing.assert_close(items_ND[:4], smoothed[USERS : USERS + 4])
    torch.testing.assert_close(frozen.encode_users(batch, items_ND)[:3], smoothed[:3])
    assert (items_ND[4] == 0).all()
    assert frozen.encodable(batch).tolist() == [True, True, True, False]
    assert torch.equal(model.encode_users(batch, items_ND), frozen.encode_users(batch, items_ND))


def test_a_new_user_is_what_a_trained_one_would_be_without_a_vector_of_its_own() -> None:
    model = network()
    with torch.no_grad():
        model.vectors[:USERS] = 0.0  # the users' share of the items' vectors is gone as well
    frozen = model.frozen()
    trained = frozen.encode_users(users_with([[-1]] * 3, first=0), frozen.encode_items())
    # order, repeats, padding and items without an edge change nothing, but that the last count as neighbours
    new = frozen.encode_users(users_with([[1, 0, -1], [3, 1, 2], [0, -1, 0]]), frozen.encode_items())
    torch.testing.assert_close(new, trained)


def test_the_history_answers_for_a_user_without_train_events_alone() -> None:
    frozen = network().frozen()
    items_ND = frozen.encode_items()
    batch = users_with([[0, 1], [0, 1]], first=2)
    other = dataclasses.replace(batch, history=torch.tensor([[2, 3], [2, 3]]))
    before, after = frozen.encode_users(batch, items_ND), frozen.encode_users(other, items_ND)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])
    assert frozen.encodable(batch).tolist() == [True, True]


def test_the_seed_makes_the_first_vectors() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert torch.equal(network().vectors, network().vectors)
    assert torch.equal(torch.get_rng_state(), state)
