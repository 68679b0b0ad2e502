"""Regularisers by hand, against torch's distributions, and zero for equal views."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdspark.distill.losses import confidence_penalty, score_consistency, vector_consistency


def _scores(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


def test_confidence_by_hand() -> None:
    # Uniform over two of three classes: -log 2; the second row has no class.
    scores = torch.tensor([[1.0, 1.0, -torch.inf], [-torch.inf] * 3])
    assert float(confidence_penalty(scores)) == pytest.approx(-math.log(2))
    assert float(confidence_penalty(torch.tensor([[100.0, 0.0]]))) == pytest.approx(0)


def test_confidence_as_torch_and_least_at_a_uniform_output() -> None:
    scores = _scores(4, 6)
    expected = -torch.distributions.Categorical(logits=scores).entropy().mean()
    torch.testing.assert_close(confidence_penalty(scores), expected)
    uniform = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    loss = confidence_penalty(uniform)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-math.log(5))
    assert uniform.grad is not None
    torch.testing.assert_close(uniform.grad, torch.zeros_like(uniform))


def test_consistency_by_hand() -> None:
    # p = (.5, .5), q = (.8, .2): KL(p||q) = .5 log(.5/.8) + .5 log(.5/.2), KL(q||p) = .8 log(1.6) + .2 log(.4).
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.8, 0.2]])
    forward, backward = 0.5 * math.log(0.625) + 0.5 * math.log(2.5), 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    assert float(score_consistency(p.log(), q.log())) == pytest.approx((forward + backward) / 2, rel=1e-5)


@given(st.integers(0, 99), st.floats(0.5, 5), st.floats(-9, 9))
def test_consistency_as_torch_symmetric_and_blind_to_shifts(seed: int, temperature: float, shift: float) -> None:
    first, second = _scores(3, 5, seed), _scores(3, 5, seed + 1)
    log_p, log_q = (first / temperature).log_softmax(1), (second / temperature).log_softmax(1)
    expected = sum(F.kl_div(a, b, reduction="batchmean", log_target=True) for a, b in ((log_p, log_q), (log_q, log_p)))
    found = score_consistency(first, second, temperature)
    torch.testing.assert_close(found, expected / 2)
    torch.testing.assert_close(score_consistency(second + shift, first, temperature), found)
    assert float(score_consistency(first, first + shift, temperature)) == pytest.approx(0, abs=1e-12)


def test_classes_that_one_view_lacks_are_left_out() -> None:
    first, second = _scores(3, 5), _scores(3, 5, 1)
    lacking = second.clone()
    lacking[:, 4] = lacking[2] = -torch.inf
    expected = score_consistency(first[:2, :4], second[:2, :4])
    torch.testing.assert_close(score_consistency(first, lacking), expected)


def test_vectors_by_hand() -> None:
    # Parallel, opposite, orthogonal, and a user without a vector.
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    second = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    assert float(vector_consistency(first, second)) == pytest.approx((0 + 2 + 1) / 3)


def test_gradients_by_finite_differences_and_where_nothing_is() -> None:
    first, second = _scores(3, 4).requires_grad_(), _scores(3, 4, 1).requires_grad_()
    mask = torch.tensor([[0, 0, 0, 0], [0, -torch.inf, 0, 0], [-torch.inf] * 4], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: confidence_penalty(s + mask), first)
    assert torch.autograd.gradcheck(lambda a, b: score_consistency(a + mask, b, 2.0), (first, second))
    assert torch.autograd.gradcheck(vector_consistency, (first, second))
    nothing, zero = torch.full((2, 3), -torch.inf, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    loss = confidence_penalty(nothing) + score_consistency(nothing, nothing) + vector_consistency(zero, zero)
    loss.backward()
    assert float(loss.detach()) == 0
    for leaf in (nothing, zero):
        assert leaf.grad is not None
        assert (leaf.grad == 0).all()
