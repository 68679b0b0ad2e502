"""Rates by hand; tables of which a step moves only the batch's rows."""

import math

import pytest
import torch
from torch import nn

from kdspark.config import MFConfig, TrainingConfig
from kdspark.distill.optimizers import Optimizers, learning_rate
from kdspark.models.batch import FeatureSizes
from kdspark.models.build import build_model
from tests.models import zoo


def test_learning_rate_by_hand() -> None:
    config = TrainingConfig(learning_rate=2.0, warmup=0.2)
    rates = [learning_rate(config, step, 10) for step in range(10)]
    assert rates[:2] == [1.0, 2.0]
    assert rates[2] == 2.0
    assert rates[6] == pytest.approx(1.0)
    assert rates[9] == pytest.approx(1 + math.cos(math.pi * 7 / 8))


def model() -> nn.Module:
    return build_model(MFConfig(dim=4), zoo.N_USERS, zoo.N_ITEMS, zoo.items(), FeatureSizes(), seed=1)


def step(module: nn.Module, optimizers: Optimizers, user: int, rate: float) -> torch.Tensor:
    """One step that pulls a user and all items to 1; returns the user table's change."""
    table = module.get_parameter("user_encoder.table.weight")
    before = table.detach().clone()
    optimizers.start(rate)
    row = module.get_submodule("user_encoder").table(torch.tensor([user]))  # type: ignore[operator]
    ((row - 1).square().sum() + sum((p - 1).square().sum() for p in _dense(module))).backward()
    assert torch.isfinite(optimizers.clip())
    optimizers.step()
    return table.detach() - before


def _dense(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for name, parameter in module.named_parameters() if "table" not in name]


def test_a_user_moves_only_in_its_own_steps_and_at_its_own_rate() -> None:
    module, config = model(), TrainingConfig(learning_rate=0.01, user_learning_rate=0.5)
    optimizers = Optimizers(module, config)
    before = [parameter.detach().clone() for parameter in _dense(module)]
    first = step(module, optimizers, 2, 0.01)
    assert first[2].tolist() == pytest.approx([0.5] * 4)
    assert first.count_nonzero() == first[2].count_nonzero() == 4
    moved = [(now.detach() - then).abs().max() for now, then in zip(_dense(module), before, strict=True)]
    assert all(float(change) == pytest.approx(0.01, rel=0.05) for change in moved)
    second = step(module, optimizers, 5, 0.005)
    assert second[2].count_nonzero() == 0  # no momentum while the user is away
    assert second[5].gt(0).all()


def test_the_dense_gradient_is_bounded_by_the_clip_norm() -> None:
    module = model()
    optimizers = Optimizers(module, TrainingConfig(clip_norm=0.5))
    optimizers.start(0.1)
    sum(parameter.square().sum() for parameter in _dense(module)).mul(100).backward()  # type: ignore[union-attr]
    before = torch.stack([parameter.grad.norm() for parameter in _dense(module) if parameter.grad is not None]).norm()
    assert float(optimizers.clip()) == pytest.approx(float(before), rel=1e-5)
    after = torch.stack([parameter.grad.norm() for parameter in _dense(module) if parameter.grad is not None]).norm()
    assert float(before) > 0.5
    assert float(after) == pytest.approx(0.5, rel=1e-4)


def test_the_users_rate_defaults_to_the_others_and_follows_the_schedule() -> None:
    changes = []
    for rate in (0.01, 0.005):
        module = model()
        changes.append(step(module, Optimizers(module, TrainingConfig(learning_rate=0.01)), 1, rate)[1])
    torch.testing.assert_close(changes[0], 2 * changes[1])
    torch.testing.assert_close(changes[0], torch.full((4,), 0.01), rtol=1e-3, atol=0)


def test_state_comes_back_to_the_bit() -> None:
    config = TrainingConfig(learning_rate=0.01, user_learning_rate=0.3)
    one, other = model(), model()
    first, second = Optimizers(one, config), Optimizers(other, config)
    for user in (1, 2, 1):
        step(one, first, user, 0.01)
    other.load_state_dict(one.state_dict())
    second.load({name: tensor.clone() for name, tensor in first.state().items()})
    assert torch.equal(step(one, first, 1, 0.01), step(other, second, 1, 0.01))
    for mine, yours in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, yours)
