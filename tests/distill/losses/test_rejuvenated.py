"""RCE-KD: the split, the draw of what stands above, and the loss by hand and against torch's cross-entropy."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdspark.distill.losses import closure_counts, draw_closure, entropy, rejuvenated_cross_entropy, within
from kdspark.tables import PAD

NONE = torch.empty(1, 0, dtype=torch.float64)


def _scores(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


def test_within_by_hand() -> None:
    found = within(torch.tensor([[4, 7, PAD], [1, 2, 3]]), torch.tensor([[7, PAD], [3, 1]]))
    assert found.tolist() == [[False, True, False], [True, False, True]]


@given(st.integers(1, 6), st.integers(0, 8), st.integers(0, 99))
def test_within_is_the_comparison_of_all_with_all(size: int, others: int, seed: int) -> None:
    torch.manual_seed(seed)
    items, rest = torch.randint(-1, 9, (4, size)), torch.randint(-1, 9, (4, others))
    expected = (items[:, :, None] == rest[:, None, :]).any(dim=2) & (items != PAD)
    assert torch.equal(within(items, rest), expected)


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 99))
def test_counts_are_the_comparisons(top: int, pool: int, seed: int) -> None:
    torch.manual_seed(seed)
    scores, above, rest = torch.randn(3, top), torch.randn(3, pool), torch.rand(3, top) < 0.5
    expected = ((scores[:, None, :] < above[:, :, None]) & rest[:, None, :]).sum(dim=2)
    assert torch.equal(closure_counts(above, scores, rest), expected)


def test_draw_leaves_out_what_is_below_and_prefers_what_is_above_most() -> None:
    torch.manual_seed(0)
    counts = torch.tensor([0, 10, 20, 30]).expand(30_000, 4)
    present = torch.tensor([True, True, True, False]).expand(30_000, 4)
    first = torch.bincount(draw_closure(counts, present, 10.0, 1)[:, 0], minlength=4) / 30_000
    expected = torch.tensor([0, 1, math.e, 0]) / (1 + math.e)  # exp(10 / 10) : exp(20 / 10)
    torch.testing.assert_close(first, expected, atol=0.015, rtol=0)
    assert set(draw_closure(counts[:2], present[:2], 10.0, 4)[0].tolist()) == {1, 2, PAD}


def test_loss_by_hand() -> None:
    # Teacher's top a, b, c with weights 2, 1, 1 and student's exp(s) = 2, 1, 1; a is in the student's top, with an item
    # of exp(s) = 2 besides; sampled above the rest: a, and an item of exp(s) = 4.
    # L1 = -log(2 / (2 + 2)) = log 2. L2 = -1/2 log(2/8) - 1/4 log(1/8) - 1/4 log(1/8) = 2.5 log 2.
    # One of three is shared: g = exp(-3 / 3) = 1/e.
    found = rejuvenated_cross_entropy(
        torch.log(torch.tensor([[2.0, 1.0, 1.0]])),
        torch.tensor([[2.0, 1.0, 1.0]]),
        torch.tensor([[True, False, False]]),
        torch.tensor([[True, False, False]]),
        torch.log(torch.tensor([[2.0]])),
        torch.log(torch.tensor([[4.0]])),
        beta=3.0,
    )
    expected = (1 - 1 / math.e) * math.log(2) + 1 / math.e * 2.5 * math.log(2)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_without_overlap_it_is_torchs_cross_entropy_of_the_top_and_the_sample() -> None:
    scores, sampled, p = _scores(4, 5), _scores(4, 3, 1), _scores(4, 5, 2).softmax(1)
    none = torch.zeros(4, 5, dtype=torch.bool)
    found = rejuvenated_cross_entropy(scores, p, none, none, _scores(4, 2, 3), sampled, beta=1.0)
    targets = torch.cat([p, torch.zeros(4, 3, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(found, F.cross_entropy(torch.cat([scores, sampled], dim=1), targets))


def test_with_full_overlap_the_student_is_best_at_the_teacher() -> None:
    p, everything = _scores(3, 4).softmax(1), torch.ones(3, 4, dtype=torch.bool)
    student, others = p.log().requires_grad_(), torch.empty(3, 0, dtype=torch.float64)
    loss = rejuvenated_cross_entropy(student, p, everything, ~everything, others, others, beta=2.0)
    torch.testing.assert_close(loss, (1 - math.exp(-2)) * entropy(p))
    loss.backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros_like(p), atol=1e-12, rtol=0)


@given(st.integers(0, 99), st.floats(-30, 30), st.floats(0.1, 10))
def test_a_shift_of_scores_and_a_scale_of_weights_change_nothing(seed: int, shift: float, scale: float) -> None:
    torch.manual_seed(seed)
    scores, own, sampled, p = _scores(3, 4, seed), _scores(3, 2, 1), _scores(3, 2, 2), _scores(3, 4, 3).exp()
    shared = torch.rand(3, 4) < 0.5
    drawn = shared & (torch.rand(3, 4) < 0.5)
    expected = rejuvenated_cross_entropy(scores, p, shared, drawn, own, sampled, 1.0)
    order = torch.randperm(4)
    top = [scores[:, order] + shift, p[:, order] * scale, shared[:, order], drawn[:, order]]
    moved = rejuvenated_cross_entropy(*top, own + shift, sampled + shift, 1.0)
    torch.testing.assert_close(moved, expected)


def test_padding_and_missing_competitors() -> None:
    scores, p = _scores(1, 3), torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    shared = torch.tensor([[True, False, False]])
    expected = rejuvenated_cross_entropy(scores, p, shared, ~shared & False, NONE, NONE, 1.0)
    low, dead = torch.full((2, 2), -torch.inf, dtype=torch.float64), torch.full((1, 4), -torch.inf, dtype=torch.float64)
    rows = torch.cat([F.pad(scores, (0, 1), value=-torch.inf), dead])
    weights = torch.cat([F.pad(p, (0, 1)), torch.zeros(1, 4, dtype=torch.float64)])
    shared = torch.tensor([[True, False, False, False], [False] * 4])
    rows.requires_grad_()
    found = rejuvenated_cross_entropy(rows, weights, shared, shared & False, low, low, 1.0)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()


def test_gradient_by_finite_differences() -> None:
    scores, own, sampled = (_scores(3, n, n).requires_grad_() for n in (4, 2, 3))
    p = _scores(3, 4, 9).softmax(1) * torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
    shared = torch.tensor([[True, False, True, False], [False, False, False, False], [True] * 4])
    drawn = torch.tensor([[True, False, False, False], [False] * 4, [False] * 4])
    assert torch.autograd.gradcheck(
        lambda s, o, a: rejuvenated_cross_entropy(s, p, shared, drawn, o, a, 1.5), (scores, own, sampled)
    )
