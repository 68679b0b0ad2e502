import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.distill.losses.catalogue import catalogue_log_sum
from kdspark.tables import PAD


def vectors(rows: int, items: int, dim: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(rows, dim, generator=generator, dtype=torch.float64, requires_grad=True)
    return users, torch.randn(items, dim, generator=generator, dtype=torch.float64, requires_grad=True)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(2, 8), st.sampled_from([0.5, 1.0, 3.0]))
def test_log_sum_and_gradients_are_those_of_logsumexp(
    data: st.DataObject, rows: int, items: int, temperature: float
) -> None:
    users_BD, items_ND = vectors(rows, items)
    item = st.integers(PAD, items)  # PAD, and one item that the catalogue does not have
    left_out = torch.tensor([data.draw(st.lists(item, min_size=3, max_size=3)) for _ in range(rows)])
    kept = torch.tensor([[data.draw(st.integers(0, items - 1)), PAD] for _ in range(rows)])
    scores_BN = users_BD @ items_ND.T / temperature
    mask_BN = torch.tensor([[n in left_out[b] and n not in kept[b] for n in range(items)] for b in range(rows)])
    expected = scores_BN.masked_fill(mask_BN, -torch.inf).logsumexp(dim=1, keepdim=True)
    found = catalogue_log_sum(users_BD, items_ND, left_out, [kept], temperature)
    torch.testing.assert_close(found, expected)
    weight = torch.arange(1.0, rows + 1, dtype=torch.float64)[:, None]
    inputs = (users_BD, items_ND)
    torch.testing.assert_close(
        torch.autograd.grad((found * weight).sum(), inputs), torch.autograd.grad((expected * weight).sum(), inputs)
    )


def test_gradient_is_that_of_finite_differences() -> None:
    inputs = vectors(3, 5)
    left_out, kept = torch.tensor([[0, 1], [2, PAD], [4, 4]]), [torch.tensor([[1], [PAD], [PAD]])]

    def total() -> torch.Tensor:
        return catalogue_log_sum(*inputs, left_out, kept, 2.0).sum()

    for matrix, gradient in zip(inputs, torch.autograd.grad(total(), inputs), strict=True):
        for place, slope in enumerate(gradient.flatten()):
            step = torch.zeros(matrix.numel(), dtype=torch.float64)
            step[place] = 1e-6
            with torch.no_grad():
                matrix += step.reshape(matrix.shape)
                above = total()
                matrix -= 2 * step.reshape(matrix.shape)
                below = total()
                matrix += step.reshape(matrix.shape)
            torch.testing.assert_close((above - below) / 2e-6, slope, rtol=1e-6, atol=1e-8)


def test_far_scores_do_not_overflow() -> None:
    users_BD = torch.tensor([[1e4]], requires_grad=True)
    found = catalogue_log_sum(users_BD, torch.tensor([[1.0], [-1.0]]))
    assert found.item() == 1e4
    found.sum().backward()
    assert users_BD.grad is not None
    assert users_BD.grad.item() == 1.0


def test_a_second_gradient_is_refused() -> None:
    users_BD, items_ND = vectors(2, 4)
    found = catalogue_log_sum(users_BD, items_ND).sum()
    found.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()
