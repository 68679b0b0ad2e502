"""Losses against torch's own, hand numbers, and finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdspark.distill.losses import (
    entropy,
    hard_cross_entropy,
    kl_divergence,
    normalised_cross_entropy,
    row_mean,
    sampled_cross_entropy,
    soft_cross_entropy,
)

TEACHER = torch.tensor([[0.1, 0.3, 0.2, 0.2, 0.2]], dtype=torch.float64)
STUDENT = torch.tensor([[0.2, 0.2, 0.3, 0.2, 0.1]], dtype=torch.float64)


def _scores(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


def test_worked_example_cross_entropy_is_not_kl() -> None:
    assert float(soft_cross_entropy(TEACHER, STUDENT.log())) == pytest.approx(1.6670, abs=5e-5)
    assert float(kl_divergence(TEACHER, STUDENT.log())) == pytest.approx(0.1099, abs=5e-5)
    assert float(entropy(TEACHER)) == pytest.approx(1.6670 - 0.1099, abs=1e-4)


def test_kl_is_zero_at_equality_and_cross_entropy_is_not() -> None:
    assert float(kl_divergence(STUDENT, STUDENT.log() + 3.0)) == pytest.approx(0, abs=1e-12)
    assert float(soft_cross_entropy(STUDENT, STUDENT.log())) == pytest.approx(float(entropy(STUDENT)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(2, 9), st.floats(0.5, 10), st.integers(0, 99))
def test_kl_as_torch(rows: int, classes: int, temperature: float, seed: int) -> None:
    teacher, student = _scores(rows, classes, seed), _scores(rows, classes, seed + 100)
    expected = F.kl_div(
        (student / temperature).log_softmax(1),
        (teacher / temperature).log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )
    found = kl_divergence((teacher / temperature).softmax(1), student / temperature)
    torch.testing.assert_close(found, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(2, 9), st.floats(0, 0.9), st.integers(0, 99))
def test_hard_as_torch(rows: int, items: int, smoothing: float, seed: int) -> None:
    scores = _scores(rows, items, seed)
    targets = torch.randint(items, (rows,), generator=torch.Generator().manual_seed(seed))
    expected = F.cross_entropy(scores, targets, label_smoothing=smoothing)
    torch.testing.assert_close(hard_cross_entropy(scores, targets[:, None], smoothing), expected)


def test_soft_as_torch() -> None:
    scores, p = _scores(4, 6), _scores(4, 6, 1).softmax(1)
    torch.testing.assert_close(soft_cross_entropy(p, scores), F.cross_entropy(scores, p))


def test_several_targets_by_hand_and_padding() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]]))
    targets = torch.tensor([[0, 1], [2, -1], [-1, -1]])
    expected = ((math.log(2) + math.log(4)) / 2 + math.log(1 / 0.8)) / 2
    assert float(hard_cross_entropy(scores, targets)) == pytest.approx(expected, rel=1e-6)


def test_masked_items_are_outside_the_softmax() -> None:
    scores = torch.tensor([[1.0, -torch.inf, 0.0]], requires_grad=True)
    loss = hard_cross_entropy(scores, torch.tensor([[0]]), smoothing=0.1)
    expected = F.cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradients_by_finite_differences(smoothing: float) -> None:
    scores = _scores(3, 5).requires_grad_()
    targets = torch.tensor([[0, 3], [2, -1], [-1, -1]])
    assert torch.autograd.gradcheck(lambda s: hard_cross_entropy(s, targets, smoothing), scores)
    targets_BC = (_scores(3, 5, 7) / 2).softmax(1)
    assert torch.autograd.gradcheck(lambda s: kl_divergence(targets_BC, s / 2), scores)
    assert torch.autograd.gradcheck(lambda s: soft_cross_entropy(targets_BC, s), scores)


def test_sampled_softmax_by_hand_and_by_finite_differences() -> None:
    # Two of four items are drawn, one of them the target: exp(0) and exp(log 3) / (2 / 4), so log(1 + 6).
    own, drawn = torch.tensor([[0.0]], dtype=torch.float64), torch.tensor([[0.0, math.log(3)]], dtype=torch.float64)
    target, sampled = torch.tensor([[2]]), torch.tensor([2, 0])
    assert float(sampled_cross_entropy(own, target, drawn, sampled, 4)) == pytest.approx(math.log(7))
    own, drawn = own.clone().requires_grad_(), drawn.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: sampled_cross_entropy(a, target, b, sampled, 4), (own, drawn))


def test_normalised_cross_entropy_is_torchs_where_log_z_is_that_of_all_classes() -> None:
    scores, targets = _scores(3, 5), torch.tensor([[0, 3], [2, -1], [-1, -1]])
    found = normalised_cross_entropy(
        scores.logsumexp(dim=1, keepdim=True), scores.gather(1, targets.clamp(min=0)), targets
    )
    each = [F.cross_entropy(scores[:1].expand(2, -1), targets[0]), F.cross_entropy(scores[1:2], targets[1, :1])]
    torch.testing.assert_close(found, torch.stack(each).mean())
    assert float(normalised_cross_entropy(torch.tensor([[1.5]]), torch.tensor([[0.25]]), torch.tensor([[0]]))) == 1.25


def test_sampling_everything_is_the_full_softmax() -> None:
    scores, targets = _scores(4, 8), torch.tensor([[1], [0], [7], [3]])
    found = sampled_cross_entropy(scores.gather(1, targets), targets, scores, torch.arange(8), 8)
    torch.testing.assert_close(found, F.cross_entropy(scores, targets[:, 0]))


def test_sampling_everything_is_the_full_softmax_of_each_of_many_targets() -> None:
    """PAD counts nothing, an item that is named twice is one of the softmax's classes all the same."""
    scores, targets = _scores(3, 8), torch.tensor([[1, 4, 1], [0, -1, -1], [-1, 7, 2]])
    own = scores.gather(1, targets.clamp(min=0))
    found = sampled_cross_entropy(own, targets, scores, torch.arange(8), 8)
    log_q = scores.log_softmax(1)
    rows = [log_q[0, [1, 4, 1]].mean(), log_q[1, 0], log_q[2, [7, 2]].mean()]
    torch.testing.assert_close(found, -torch.stack(rows).mean())


def test_sampled_sum_is_unbiased() -> None:
    """The mean of the estimated sum over draws is the full softmax's sum."""
    generator, items, size = torch.Generator().manual_seed(3), 50, 10
    scores, targets = _scores(1, items), torch.tensor([[4, 30]])
    ratios = []
    own = scores.gather(1, targets)
    for _ in range(4000):
        sampled = torch.randperm(items, generator=generator)[:size]
        loss = sampled_cross_entropy(own, targets, scores[:, sampled], sampled, items)
        ratios.append(float((loss + own.mean()).exp()))
    full = float(scores.exp().sum())
    assert sum(ratios) / len(ratios) == pytest.approx(full, rel=0.05)


def test_a_batch_without_targets_has_no_loss_but_a_gradient() -> None:
    values = torch.ones(2, 3, requires_grad=True)
    loss = row_mean(values, torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(soft_cross_entropy(torch.zeros(2, 3), torch.ones(2, 3))) == 0
