"""Soft targets by hand."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.config import DistillConfig
from kdspark.distill.targets import (
    power_targets,
    rank_targets,
    score_targets,
    soft_targets,
    standardised,
    standardised_like,
)
from kdspark.tables import PAD

CANDIDATES = torch.tensor([[5, 2, 9, 7], [1, -1, 3, -1], [-1, -1, -1, -1]])
LOGITS = torch.tensor([[4.0, 2.0, 1.0, -3.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


def test_rank_targets_by_hand() -> None:
    p = rank_targets(CANDIDATES, top_k=3, decay=2.0)
    w = [1.0, math.exp(-0.5), math.exp(-1.0)]
    expected = torch.tensor([[x / sum(w) for x in w] + [0.0], [1 / (1 + w[2]), 0, w[2] / (1 + w[2]), 0], [0.0] * 4])
    torch.testing.assert_close(p, expected)


def test_power_targets_by_hand() -> None:
    p = power_targets(CANDIDATES, top_k=3, shift=2.0)  # weights 1/2, 1/3, 1/4, then nothing
    expected = torch.tensor([[6 / 13, 4 / 13, 3 / 13, 0.0], [2 / 3, 0, 1 / 3, 0], [0.0] * 4])
    torch.testing.assert_close(p, expected)


def test_score_targets_leave_padding_out() -> None:
    p = score_targets(CANDIDATES, LOGITS, temperature=2.0)
    torch.testing.assert_close(p[0], (LOGITS[0] / 2).softmax(0))
    torch.testing.assert_close(p[1, [0, 2]], (LOGITS[1, [0, 2]] / 2).softmax(0))
    assert p[1, 1] == p[1, 3] == 0
    assert (p[2] == 0).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 50), st.floats(-100, 100), st.sampled_from([True, False]))
def test_standardised_targets_ignore_scale_and_shift(scale: float, shift: float, standardise: bool) -> None:
    moved = score_targets(CANDIDATES, LOGITS * scale + shift, 1.0, standardise=True)
    torch.testing.assert_close(moved, score_targets(CANDIDATES, LOGITS, 1.0, standardise=True), atol=1e-3, rtol=1e-3)


def test_constant_logits_are_uniform_when_standardised() -> None:
    p = score_targets(CANDIDATES[:1], torch.full((1, 4), 7.0), 1.0, standardise=True)
    torch.testing.assert_close(p, torch.full((1, 4), 0.25))


def test_the_configuration_chooses() -> None:
    rank = DistillConfig.model_validate({"targets": "rank", "rank_decay": 3.0})
    score = DistillConfig.model_validate({"targets": "score", "temperature": 4.0, "standardise": True})
    power = DistillConfig.model_validate({"targets": "power", "rank_shift": 3.0})
    assert torch.equal(soft_targets(power, CANDIDATES, LOGITS, 2), power_targets(CANDIDATES, 2, 3.0))
    assert torch.equal(soft_targets(rank, CANDIDATES, LOGITS, 2), rank_targets(CANDIDATES, 2, 3.0))
    assert torch.equal(soft_targets(score, CANDIDATES, LOGITS, 2), score_targets(CANDIDATES, LOGITS, 4.0, True))


def test_other_items_stand_on_the_scale_of_the_rows_z_scores() -> None:
    found = standardised_like(torch.tensor([[3.0, -1.0], [9.0, 0.5], [1.0, 2.0]]), LOGITS, CANDIDATES != PAD)
    deviation = math.sqrt((9 + 1 + 0 + 16) / 4)  # the first row's logits have the mean 1, the second's .5, apart by .5
    torch.testing.assert_close(found[0], torch.tensor([2.0, -2.0]) / deviation)
    torch.testing.assert_close(found[1], torch.tensor([17.0, 0.0]))
    assert (found[2] == 0).all()
    present = CANDIDATES != PAD
    own = standardised_like(LOGITS, LOGITS, present)
    torch.testing.assert_close(own[present], standardised(LOGITS, present)[present])
