"""Schedules by hand-computed values, and what holds of them wherever the training is."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdspark.config import CosineSchedule, DistillConfig, FeedbackSchedule, WarmupSchedule
from kdspark.distill.schedules import (
    Feedback,
    adjusted,
    agreement_temperatures,
    agreement_weights,
    lambda_at,
    temperature_at,
    time_factor,
)
from kdspark.tables import PAD

SHARES = st.floats(0, 1)
FACTORS = st.floats(0, 5)


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.2), (0.1, 0.4), (0.25, 0.7), (0.4, 1.0), (0.7, 1.0), (1.0, 1.0)]
)
def test_a_warm_up_is_a_straight_line_and_then_1(progress: float, expected: float) -> None:
    assert time_factor(WarmupSchedule(start=0.2, share=0.4), progress) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0.0, 2.0), (0.5, 1.25), (1.0, 0.5), (1 / 3, 2 - 1.5 * 0.25), (2 / 3, 2 - 1.5 * 0.75)],
)
def test_a_cosine_leaves_and_arrives_level(progress: float, expected: float) -> None:
    assert time_factor(CosineSchedule(start=2.0, end=0.5), progress) == pytest.approx(expected)


@given(start=FACTORS, end=FACTORS, share=st.floats(0.01, 1), progress=SHARES, later=SHARES)
def test_factors_of_time_stay_within_their_ends_and_never_turn(
    start: float, end: float, share: float, progress: float, later: float
) -> None:
    first, second = min(progress, later), max(progress, later)
    for schedule, last in ((WarmupSchedule.model_construct(start=start, share=share), 1.0), (_cosine(start, end), end)):
        before, after = time_factor(schedule, first), time_factor(schedule, second)
        assert min(start, last) - 1e-9 <= min(before, after)
        assert max(before, after) <= max(start, last) + 1e-9
        assert (after - before) * (last - start) >= -1e-9
        assert schedule.least == min(start, last)


def _cosine(start: float, end: float) -> CosineSchedule:
    return CosineSchedule.model_construct(start=start, end=end)


def test_schedules_of_one_value_multiply_and_the_plain_value_stays() -> None:
    warmup, cosine = {"kind": "warmup", "share": 0.5}, {"kind": "cosine", "start": 3.0, "end": 1.0}
    others = [{"kind": "agreement"}, {"kind": "feedback"}]  # these go by rows and validations
    config = DistillConfig.model_validate(
        {"lambda": 4.0, "temperature": 2.0, "lambda_schedule": [warmup, cosine, *others]}
    )
    assert lambda_at(config, 0.25) == pytest.approx(4 * 0.5 * (3 - 2 * 0.5 * (1 - math.sqrt(0.5))))
    assert temperature_at(config, 0.25) == 2.0
    config = DistillConfig.model_validate({"lambda": 4.0, "temperature": 2.0, "temperature_schedule": [cosine]})
    assert lambda_at(config, 0.5) == 4.0
    assert temperature_at(config, 0.5) == pytest.approx(4.0)


P = torch.tensor([[0.5, 0.3, 0.2, 0.0]] * 4 + [[0.0] * 4])
CANDIDATES = torch.tensor([[7, 4, 2, 9]] * 4 + [[PAD] * 4])
#                        first     missed    none          two       no candidates
TARGETS = torch.tensor([[7, PAD], [5, PAD], [PAD, PAD], [2, 4], [7, PAD]])


def test_rows_weigh_by_the_probability_of_their_targets_against_the_mean() -> None:
    """p is .5, 0, -, .2 + .3, -; its mean over the three rows that have one is 1/3."""
    found = agreement_weights(P, CANDIDATES, TARGETS, 0.0)
    torch.testing.assert_close(found, torch.tensor([1.5, 0.0, 1.0, 1.5, 1.0]))
    found = agreement_weights(P, CANDIDATES, TARGETS, 0.5)
    torch.testing.assert_close(found, torch.tensor([1.25, 0.5, 1.0, 1.25, 1.0]))


def test_a_teacher_that_is_never_right_weighs_all_rows_alike() -> None:
    assert agreement_weights(P, CANDIDATES, torch.full((5, 2), 1), 0.2).tolist() == [1.0] * 5


def test_rows_that_the_teacher_misses_are_softer() -> None:
    """p / mean(p) is 1.5, 0, -, 1.5, -; of a row with half the mean, the square root of 4."""
    found = agreement_temperatures(P, CANDIDATES, TARGETS, 4.0)
    torch.testing.assert_close(found, torch.tensor([[1.0], [4.0], [1.0], [1.0], [1.0]]))
    p, targets = torch.tensor([[0.75, 0.25], [0.25, 0.75]]), torch.tensor([[1], [1]])
    found = agreement_temperatures(p, torch.tensor([[1, 2], [1, 2]]), targets, 4.0)
    torch.testing.assert_close(found, torch.tensor([[1.0], [2.0]]))


@given(seed=st.integers(0, 1000), least=st.floats(0, 0.99), width=st.integers(1, 4))
def test_weights_have_mean_1_keep_the_least_and_follow_the_probability(seed: int, least: float, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.stack([torch.randperm(9, generator=generator)[:5] for _ in range(6)])
    p = torch.rand(6, 5, generator=generator).softmax(dim=1)
    targets = torch.stack([torch.randperm(9, generator=generator)[:width] for _ in range(6)])
    weights = agreement_weights(p, candidates, targets, least)
    truth = torch.stack([p[row][torch.isin(candidates[row], targets[row])].sum() for row in range(6)])
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)
    assert float(weights.min()) >= least - 1e-6
    order = truth.argsort(stable=True)
    assert bool((weights[order].diff() >= -1e-6).all())
    factors = agreement_temperatures(p, candidates, targets, 1 + least + 0.01)[:, 0]
    assert 1 <= float(factors.min()) <= float(factors.max()) <= 1.01 + least + 1e-5
    assert bool((factors[order].diff() <= 1e-6).all())


RULE = FeedbackSchedule(up=1.5, down=0.5, least=0.4, most=2.0)


def test_feedback_follows_the_metric_within_its_bounds() -> None:
    feedback, found = Feedback(RULE), []
    for metric in (0.3, 0.4, 0.5, 0.5, 0.2, 0.1, 0.05, 0.3):
        feedback.hear(metric)
        found.append(feedback.factor)
    assert found == pytest.approx([1.0, 1.5, 2.0, 2.0, 1.0, 0.5, 0.4, 0.6])


@given(factor=st.floats(0.4, 2.0), before=SHARES, metric=SHARES)
def test_the_factor_goes_where_the_metric_went(factor: float, before: float, metric: float) -> None:
    found = adjusted(RULE, factor, before, metric)
    assert 0.4 <= found <= 2.0
    assert (found - factor) * (metric - before) >= 0
    assert adjusted(RULE, factor, math.nan, metric) == factor


def test_the_state_of_feedback_is_restored_to_the_bit() -> None:
    first, second = Feedback(RULE), Feedback(RULE)
    for metric in (0.1, 0.7, 0.3):
        first.hear(metric)
    second.load_state_dict(first.state_dict())
    for feedback in (first, second):
        feedback.hear(0.30000000000000004)
    assert first.factor == second.factor == pytest.approx(1.5 * 0.5 * 1.5)
