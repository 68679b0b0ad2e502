"""A gate learns whom to believe: the member that is right about light users, and the other about heavy ones."""

import math

import pytest
import torch

from kdspark.config import MixtureConfig
from kdspark.distill.gate import GateExamples, fit_gate
from kdspark.errors import TrainingError
from kdspark.models.opinions import Opinions
from kdspark.models.weighing import Gate

USERS, ITEMS = 200, 6


def examples() -> tuple[GateExamples, Opinions]:
    """Odd users are heavy. The first member puts on top what light users take, the second what heavy ones take.

    One user in five takes something else.
    """
    generator = torch.Generator().manual_seed(0)
    heavy_B = torch.arange(USERS) % 2 == 1
    taken_B = torch.randint(ITEMS, (USERS,), generator=generator)
    wrong_B = (taken_B + 1 + torch.randint(ITEMS - 1, (USERS,), generator=generator)) % ITEMS
    tops_BM = torch.stack([torch.where(heavy_B, wrong_B, taken_B), torch.where(heavy_B, taken_B, wrong_B)], dim=1)
    z_BMX = 2.0 * torch.nn.functional.one_hot(tops_BM, ITEMS)
    history_B = torch.where(heavy_B, 300, 5)
    leads = torch.zeros(USERS, 2, 1)
    known_BM = torch.ones(USERS, 2, dtype=torch.bool)
    opinions = Opinions(tops_BM[:, :, None], leads, known_BM, history_B)
    facts_BF = torch.cat([history_B.float().log1p()[:, None], torch.zeros(USERS, 2)], dim=1)
    truth_BX = torch.nn.functional.one_hot(torch.where(torch.arange(USERS) % 10 < 2, 0, taken_B), ITEMS).bool()
    return GateExamples(facts_BF, known_BM, z_BMX, torch.ones_like(truth_BX), truth_BX), opinions


def test_light_and_heavy_users_get_the_member_that_is_right_about_them() -> None:
    seen, opinions = examples()
    gate = fit_gate(MixtureConfig(), [1.0, 1.0], seen)
    light, heavy = gate(opinions)[:2]
    assert light[0] > 1.8
    assert heavy[1] > 1.8
    scores = torch.einsum("bm,bmx->bx", gate(opinions), seen.z_BMX)
    assert float((scores.argmax(1) == seen.truth_BX.float().argmax(1)).float().mean()) >= 0.8


def test_it_is_at_the_minimum_of_the_penalised_cross_entropy() -> None:
    """Against the loss written out with torch's own functions, at nearby weights and its best sharpness."""
    seen, opinions = examples()
    config = MixtureConfig(l2=0.05)
    gate = fit_gate(config, [1.0, 0.7], seen)

    def loss(weights: torch.Tensor, sharpness: float) -> float:
        other = Gate(config, 2)
        other.load_state_dict(gate.state_dict() | {"weights": weights})
        scores = torch.einsum("bm,m,bmx->bx", other(opinions), torch.tensor([1.0, 0.7]), seen.z_BMX)
        entropy = torch.nn.functional.cross_entropy(sharpness * scores.double(), seen.truth_BX.double())
        return float(entropy + 0.5 * config.l2 * (weights.double().square().sum() + math.log(sharpness) ** 2))

    def best(weights: torch.Tensor) -> float:
        return min(loss(weights, math.exp(t / 50)) for t in range(-100, 200))

    fitted = gate.get_buffer("weights")
    at = best(fitted)
    for place in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for step in (-0.1, 0.1):
            moved = fitted.clone()
            moved[place] += step
            assert best(moved) > at


def test_it_is_the_same_every_time_and_stays_equal_under_a_large_penalty() -> None:
    seen, opinions = examples()
    first, second = (fit_gate(MixtureConfig(), [1.0, 1.0], seen) for _ in "ab")
    assert torch.equal(first.get_buffer("weights"), second.get_buffer("weights"))
    torch.testing.assert_close(first.get_buffer("weights")[0], -first.get_buffer("weights")[1])
    held = fit_gate(MixtureConfig(l2=1e6), [1.0, 1.0], seen)
    torch.testing.assert_close(held(opinions), torch.ones(USERS, 2), atol=1e-3, rtol=0)


def test_candidates_that_are_not_there_do_not_count() -> None:
    seen, _ = examples()
    wider = GateExamples(
        seen.facts_BF,
        seen.known_BM,
        torch.cat([seen.z_BMX, torch.full((USERS, 2, 3), 50.0)], dim=2),
        torch.cat([seen.present_BX, torch.zeros(USERS, 3, dtype=torch.bool)], dim=1),
        torch.cat([seen.truth_BX, torch.zeros(USERS, 3, dtype=torch.bool)], dim=1),
    )
    one, two = (fit_gate(MixtureConfig(), [1.0, 1.0], rows).get_buffer("weights") for rows in (seen, wider))
    torch.testing.assert_close(one, two)


def test_scores_that_are_not_finite_are_refused() -> None:
    seen, _ = examples()
    seen.z_BMX[3, 0, 1] = torch.nan
    with pytest.raises(TrainingError, match="not finite"):
        fit_gate(MixtureConfig(), [1.0, 1.0], seen)
