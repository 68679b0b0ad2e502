"""RD, CD and RRD against hand numbers, torch's own functions and finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdspark.distill.losses import (
    collaborative_distillation,
    collaborative_targets,
    discrepancy_weights,
    draw_by_rank,
    draw_interesting,
    estimated_ranks,
    position_weights,
    ranking_distillation,
    relaxed_ranking,
)
from kdspark.tables import PAD


def _scores(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


def _everything(rows: int, columns: int) -> Tensor:
    return torch.ones(rows, columns, dtype=torch.bool)


def test_rd_by_hand() -> None:
    # Weights 3 and 1 are shares 3/4 and 1/4; sigmoid(0) = 1/2, sigmoid(log 3) = 3/4.
    scores, weights = torch.tensor([[0.0, math.log(3)], [9.0, 9.0]]), torch.tensor([[3.0, 1.0], [0.0, 0.0]])
    expected = 0.75 * math.log(2) + 0.25 * math.log(4 / 3)  # the second row weighs nothing
    assert float(ranking_distillation(scores, weights)) == pytest.approx(expected)


def test_rd_is_torchs_weighted_logistic_loss_of_positives() -> None:
    scores, weights = _scores(4, 6), _scores(4, 6, 1).exp()
    shares = weights / weights.sum(dim=1, keepdim=True)
    expected = F.binary_cross_entropy_with_logits(scores, torch.ones_like(scores), weight=shares, reduction="sum") / 4
    torch.testing.assert_close(ranking_distillation(scores, weights), expected)


def test_rd_weights_by_hand() -> None:
    present = torch.tensor([[True, True, False]])
    torch.testing.assert_close(position_weights(present, 2.0), torch.tensor([[math.exp(-0.5), math.exp(-1.0), 0.0]]))
    # Ranked 3rd instead of 1st, 2nd as it should be, 1st instead of 3rd: only the first weighs, tanh(.5 * 2).
    found = discrepancy_weights(torch.tensor([[3, 2, 1]]), mu=0.5)
    torch.testing.assert_close(found, torch.tensor([[math.tanh(1.0), 0.0, 0.0]]))


def test_rd_is_zero_where_the_student_ranks_as_the_teacher() -> None:
    scores = _scores(2, 3).requires_grad_()
    loss = ranking_distillation(scores, discrepancy_weights(torch.tensor([[1, 2, 3], [1, 1, 2]]), 0.1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None
    assert (scores.grad == 0).all()


def test_estimated_ranks_by_hand() -> None:
    # 2 of 4 sampled items above .5: 1 + floor(2/4 * 8) = 5. Ties are not above. Items of -inf never are.
    sampled = torch.tensor([[1.0, -1.0, 0.75, 0.5], [3.0, -torch.inf, -torch.inf, 2.0]])
    assert estimated_ranks(torch.tensor([[0.5, 2.0], [2.5, -5.0]]), sampled, 9).tolist() == [[5, 1], [3, 5]]


@given(st.integers(2, 30), st.integers(0, 99))
def test_ranks_estimated_from_the_whole_catalogue_are_the_ranks(n_items: int, seed: int) -> None:
    scores = _scores(1, n_items, seed)
    others = torch.stack([scores[0, torch.arange(n_items) != item] for item in range(n_items)])
    exact = 1 + (others > scores.T).sum(dim=1)
    assert torch.equal(estimated_ranks(scores.T, others, n_items)[:, 0], exact)


def test_cd_targets_by_hand() -> None:
    # sigmoid((1 + 1) / 2) and sigmoid((-1 + 1) / 2)
    found = collaborative_targets(torch.tensor([[1.0, -1.0]]), temperature=2.0, shift=1.0)
    torch.testing.assert_close(found, torch.tensor([[1 / (1 + math.exp(-1)), 0.5]]))


def test_cd_by_hand_and_padding() -> None:
    # s = log 3: sigmoid 3/4; q = 1/2: (log 4/3 + log 4) / 2. The second row has nothing, the third q = 1, s = 0.
    scores = torch.tensor([[math.log(3), 7.0], [1.0, 1.0], [0.0, -3.0]])
    targets = torch.tensor([[0.5, 0.9], [0.1, 0.2], [1.0, 0.3]])
    present = torch.tensor([[True, False], [False, False], [True, False]])
    expected = ((math.log(4 / 3) + math.log(4)) / 2 + math.log(2)) / 2
    assert float(collaborative_distillation(scores, targets, present)) == pytest.approx(expected)


def test_cd_as_torch_and_least_at_the_teacher() -> None:
    logits, present = _scores(3, 5), _everything(3, 5)
    targets = collaborative_targets(logits, 1.0, 0.0)
    other = _scores(3, 5, 1)
    expected = F.binary_cross_entropy_with_logits(other, targets)
    torch.testing.assert_close(collaborative_distillation(other, targets, present), expected)
    student = logits.clone().requires_grad_()
    collaborative_distillation(student, targets, present).backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros_like(logits))


def test_draws_prefer_the_top_and_skip_padding() -> None:
    torch.manual_seed(0)
    present = torch.tensor([True, True, False, True]).expand(20_000, 4)
    first = torch.bincount(draw_by_rank(present, 2.0, 1)[:, 0], minlength=4) / 20_000
    weights = torch.tensor([1.0, math.exp(-0.5), 0.0, math.exp(-1.5)])
    torch.testing.assert_close(first, weights / weights.sum(), atol=0.015, rtol=0)
    drawn = draw_interesting(present[:5], 2.0, 4)
    assert drawn.tolist() == [[0, 1, 3, PAD]] * 5


def test_rrd_by_hand_and_padding() -> None:
    # exp(s) = 4, 2 | 1, 1: -log(4 / (4 + 2 + 2)) - log(2 / (2 + 2)). The second row: 3 | 1. The third has nothing.
    scores = torch.log(torch.tensor([[4.0, 2.0], [3.0, 9.0], [5.0, 5.0]]))
    others = torch.log(torch.tensor([[1.0, 1.0], [1.0, 9.0], [2.0, 2.0]]))
    present = torch.tensor([[True, True], [True, False], [False, False]])
    others_present = torch.tensor([[True, True], [True, False], [True, True]])
    expected = (2 * math.log(2) + math.log(4 / 3)) / 2
    assert float(relaxed_ranking(scores, present, others, others_present)) == pytest.approx(expected, rel=1e-6)


def test_rrd_of_one_item_is_torchs_cross_entropy() -> None:
    scores = _scores(4, 6)
    found = relaxed_ranking(scores[:, :1], _everything(4, 1), scores[:, 1:], _everything(4, 5))
    torch.testing.assert_close(found, F.cross_entropy(scores, torch.zeros(4, dtype=torch.int64)))


def test_rrd_is_the_probability_of_an_order() -> None:
    """Without others, the likelihoods of all orders sum to one."""
    scores, orders = _scores(1, 4), torch.cartesian_prod(*[torch.arange(4)] * 4)
    permutations = [order for order in orders if len(set(order.tolist())) == 4]
    nothing = torch.empty(1, 0, dtype=torch.float64)
    losses = [relaxed_ranking(scores[:, o], _everything(1, 4), nothing, nothing.bool()) for o in permutations]
    assert float(torch.stack(losses).neg().exp().sum()) == pytest.approx(1)


@given(st.floats(-50, 50), st.integers(0, 99))
def test_rrd_ignores_a_shift_and_the_order_of_the_others(shift: float, seed: int) -> None:
    torch.manual_seed(seed)
    scores, others = _scores(3, 4, seed), _scores(3, 5, seed + 1)
    present, others_present = torch.rand(3, 4) < 0.8, torch.rand(3, 5) < 0.8
    expected = relaxed_ranking(scores, present, others, others_present)
    order = torch.randperm(5)
    moved = relaxed_ranking(scores + shift, present, others[:, order] + shift, others_present[:, order])
    torch.testing.assert_close(moved, expected)


def test_rrd_prefers_the_teachers_order() -> None:
    scores, others = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[0.0]])
    present, one = _everything(1, 3), _everything(1, 1)
    right = relaxed_ranking(scores, present, others, one)
    assert right < relaxed_ranking(scores.flip(1), present, others, one)
    assert right < relaxed_ranking(scores, present, others + 4, one)


def test_gradients_by_finite_differences() -> None:
    scores, others = _scores(3, 4).requires_grad_(), _scores(3, 2, 1).requires_grad_()
    present = torch.tensor([[True, True, False, True], [False] * 4, [True, False, False, False]])
    others_present = torch.tensor([[True, False], [True, True], [False, False]])
    weights, targets = torch.where(present, 0.3, 0.0).double(), _scores(3, 4, 2).sigmoid()
    assert torch.autograd.gradcheck(lambda s: ranking_distillation(s, weights), scores)
    assert torch.autograd.gradcheck(lambda s: collaborative_distillation(s, targets, present), scores)
    assert torch.autograd.gradcheck(lambda s, o: relaxed_ranking(s, present, o, others_present), (scores, others))


def test_nothing_at_all_is_zero_with_finite_gradients() -> None:
    scores = torch.full((2, 3), -torch.inf, requires_grad=True)  # what a masked softmax leaves at PAD
    none = torch.zeros(2, 3, dtype=torch.bool)
    loss = ranking_distillation(scores, none.float()) + collaborative_distillation(scores, none.float(), none)
    loss = loss + relaxed_ranking(scores, none, scores, none)
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None
    assert (scores.grad == 0).all()
