"""Lookups whose gradients are added up once: the same values and gradients as ordinary ones."""

import pytest
import torch
from torch import Tensor

from kdspark.models.gather import first_columns, gathered, rows_of

ROWS = torch.tensor([[3, 0], [3, 9], [5, 3]])


def _loss(table_ND: Tensor, dense: bool, whole: bool) -> Tensor:
    """Lookups of all kinds, one inside another's result."""
    weights = torch.linspace(-1, 1, 4)
    part_ND = first_columns(table_ND, 3)
    loss = (rows_of(table_ND, ROWS) * weights).square().sum() + (rows_of(part_ND, ROWS[:, 0]) ** 3).sum()
    loss = loss + (rows_of(table_ND, ROWS[0]) @ rows_of(table_ND, ROWS[1]).T).sum()
    if dense:
        loss = loss + table_ND.exp().mean() + (part_ND * 0.5).sum()
    return loss if whole else loss.detach() * 0 + rows_of(table_ND, ROWS)[0, 0, 0]


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("leaf", [False, True])
def test_gradients_equal_those_of_an_index(dense: bool, whole: bool, leaf: bool) -> None:
    found = []
    for mark in (gathered, lambda table_ND: table_ND):
        torch.manual_seed(0)
        weights_ND = torch.randn(10, 4, requires_grad=True)
        table_ND = mark(weights_ND if leaf else weights_ND * 2)
        loss = _loss(table_ND, dense, whole)
        loss.backward()
        found.append((loss.detach(), weights_ND.grad))
    torch.testing.assert_close(*found)


def test_gradients_against_finite_differences() -> None:
    torch.manual_seed(1)
    weights_ND = torch.randn(10, 4, dtype=torch.float64, requires_grad=True)

    def loss(weights_ND: Tensor) -> Tensor:
        table_ND = gathered(weights_ND)
        return rows_of(table_ND, ROWS).square().sum() + rows_of(first_columns(table_ND, 2), ROWS).prod()

    assert torch.autograd.gradcheck(loss, weights_ND)


def test_a_table_nobody_looked_up_has_its_own_gradient_and_one_without_gradients_is_itself() -> None:
    weights_ND = torch.ones(3, 2, requires_grad=True)
    gathered(weights_ND).sum().backward()
    assert weights_ND.grad is not None
    assert weights_ND.grad.eq(1).all()
    fixed_ND = torch.ones(3, 2)
    assert gathered(fixed_ND) is fixed_ND
    with torch.no_grad():
        assert gathered(weights_ND) is weights_ND


def test_each_step_has_lookups_of_its_own() -> None:
    weights_ND = torch.ones(3, 2, requires_grad=True)
    for _ in range(3):
        rows_of(gathered(weights_ND), torch.tensor([1])).sum().backward()
    assert weights_ND.grad is not None
    assert weights_ND.grad.tolist() == [[0, 0], [3, 3], [0, 0]]
