"""UnKD: groups of equal events, pairs in the teacher's order within a group, and their loss by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kdspark.distill.losses import draw_group_pairs, pairwise_ranking, popularity_groups
from kdspark.tables import PAD


def test_groups_by_hand() -> None:
    # In order: 50, 30, 10, 10 events; their middles at .25, .65, .85, .95 of all.
    assert popularity_groups(torch.tensor([10, 50, 10, 30]), 2).tolist() == [1, 0, 1, 1]
    assert popularity_groups(torch.tensor([10, 50, 10, 30]), 4).tolist() == [3, 1, 3, 2]
    assert popularity_groups(torch.tensor([7, 0]), 1).tolist() == [0, 0]
    assert popularity_groups(torch.tensor([0, 0, 0]), 3).tolist() == [0, 0, 0]
    assert popularity_groups(torch.tensor([5, 0]), 2).tolist() == [1, 1]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 6))
def test_groups_are_ordered_and_nearly_equal(counts: list[int], groups: int) -> None:
    events = torch.tensor(counts)
    found = popularity_groups(events, groups)
    assert 0 <= int(found.min()) <= int(found.max()) < groups
    order = events.argsort(descending=True, stable=True)
    assert (found[order].diff() >= 0).all()
    for group in range(groups):  # off by half an item at either end
        mass = int(events[found == group].sum())
        assert mass <= int(events.sum()) / groups + max(counts)
    moved = torch.randperm(len(counts))
    pairs, moved_pairs = [
        sorted(zip(of.tolist(), popularity_groups(of, groups).tolist(), strict=True)) for of in (events, events[moved])
    ]
    assert moved_pairs == pairs


@given(st.integers(1, 5), st.integers(2, 9), st.integers(1, 4), st.integers(0, 99))
def test_pairs_are_of_one_group_and_in_the_teachers_order(rows: int, columns: int, groups: int, seed: int) -> None:
    torch.manual_seed(seed)
    of = torch.randint(-1, groups, (rows, columns))
    better, worse = draw_group_pairs(of, groups, 5.0, pairs=6)
    assert better.shape == worse.shape == (rows, groups * 6)
    present = better != PAD
    assert torch.equal(present, worse != PAD)
    assert (better[present] < worse[present]).all()
    first, second = of.gather(1, better.clamp(min=0)), of.gather(1, worse.clamp(min=0))
    assert torch.equal(first[present], second[present])
    assert (first[present] != PAD).all()
    block = torch.arange(groups).repeat_interleave(6).expand(rows, -1)
    assert torch.equal(first[present], block[present])


def test_pairs_are_drawn_by_rank_within_the_group() -> None:
    torch.manual_seed(0)
    # Group 1 has columns 1, 3 and 4: weights 1, e^-1, e^-2 by its own ranks.
    of = torch.tensor([0, 1, 0, 1, 1]).expand(60_000, 5)
    better, worse = draw_group_pairs(of, 2, 1.0, pairs=1)
    pairs = list(zip(better[:, 1].tolist(), worse[:, 1].tolist(), strict=True))
    kept = [pair for pair in pairs if pair != (PAD, PAD)]
    p = torch.exp(-torch.arange(3.0))
    joint = {(1, 3): p[0] * p[1], (1, 4): p[0] * p[2], (3, 4): p[1] * p[2]}
    total = float(sum(joint.values()))
    for pair, weight in joint.items():
        assert kept.count(pair) / len(kept) == pytest.approx(float(weight) / total, abs=0.015)


def test_loss_by_hand_and_padding() -> None:
    # Margins 0 and log 3: (log 2 + log 4/3) / 2 in the first row, log 2 in the second, nothing in the third.
    better = torch.tensor([[1.0, math.log(3)], [2.0, 9.0], [1.0, 1.0]])
    worse = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0]])
    present = torch.tensor([[True, True], [True, False], [False, False]])
    expected = ((math.log(2) + math.log(4 / 3)) / 2 + math.log(2)) / 2
    assert float(pairwise_ranking(better, worse, present)) == pytest.approx(expected)


def test_loss_as_torch_and_gradient() -> None:
    better = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    worse = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    everything = torch.ones(3, 4, dtype=torch.bool)
    expected = F.soft_margin_loss(better - worse, torch.ones(3, 4, dtype=torch.float64))
    torch.testing.assert_close(pairwise_ranking(better, worse, everything), expected)
    torch.testing.assert_close(pairwise_ranking(better + 5, worse + 5, everything), expected)
    some = torch.tensor([[True, False, True, True], [False] * 4, [True] * 4])
    assert torch.autograd.gradcheck(lambda b, w: pairwise_ranking(b, w, some), (better, worse))


def test_nothing_is_zero_with_finite_gradients() -> None:
    scores = torch.full((2, 3), -torch.inf, requires_grad=True)
    loss = pairwise_ranking(scores, scores, torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None
    assert (scores.grad == 0).all()
