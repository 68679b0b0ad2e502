"""Dropout keeps the mean, drops at its rate, and is off in evaluation."""

import pytest
import torch

from kdspark.models.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_and_mean(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 333)
    y = Dropout(rate).train()(x)
    assert float((y == 0).float().mean()) == pytest.approx(rate, abs=0.005)
    assert float(y.mean()) == pytest.approx(1.0, abs=0.02)
    byte = y.flatten()[: 8 * 40_000].view(-1, 8)  # no bit of a word is special
    torch.testing.assert_close((byte == 0).float().mean(0), torch.full((8,), rate), atol=0.01, rtol=0)


def test_off_in_evaluation_and_at_rate_zero() -> None:
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_gradient_passes_through_what_was_kept() -> None:
    x = torch.ones(64, requires_grad=True)
    y = Dropout(0.5).train()(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())
