"""What every term must do, whichever loss it is of."""

import dataclasses

import pytest
import torch

from kdspark.config import DistillConfig
from kdspark.distill.terms import Setting, build_terms
from kdspark.errors import ConfigError, TrainingError
from kdspark.tables import PAD
from tests.distill.terms import steps

KINDS = [*steps.SCORED, *steps.VECTOR]


@pytest.mark.parametrize("catalogue", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_finite_loss_and_gradients_with_missing_candidates(kind: str, catalogue: bool) -> None:
    torch.manual_seed(0)
    users, items = steps.vectors()
    loss = steps.term(kind)(steps.context(steps.batch(), users, items, catalogue=catalogue, progress=0.5))
    assert loss.shape == ()
    assert float(loss.detach()) > 0
    loss.backward()
    for leaf in (users, items):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", steps.SCORED)
def test_rows_without_candidates_count_nothing(kind: str) -> None:
    users, items = steps.vectors()
    rows = steps.batch()
    torch.manual_seed(3)
    loss = steps.term(kind)(steps.context(rows, users, items, progress=1.0))
    loss.backward()
    assert users.grad is not None
    assert (users.grad[5] == 0).all()
    nothing = dataclasses.replace(rows, candidates=torch.full_like(rows.candidates, PAD))  # type: ignore[arg-type]
    found = steps.term(kind)(steps.context(nothing, users, items, progress=1.0))
    assert float(found.detach()) == 0
    users.grad = None
    found.backward()
    assert (users.grad == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_draws_give_the_same_loss_and_scores_from_the_catalogue_too(kind: str) -> None:
    users, items = steps.vectors()
    found = []
    for catalogue in (False, False, True):
        torch.manual_seed(5)
        context = steps.context(steps.batch(), users, items, catalogue=catalogue, progress=0.7)
        found.append(steps.term(kind)(context).detach())
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[2], found[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_minimising_a_term_lowers_it(kind: str) -> None:
    torch.manual_seed(0)
    users, items = steps.vectors()
    term = steps.term(kind)
    optimizer = torch.optim.Adam([users, items, *term.parameters()], lr=0.05)
    curve = []
    for _ in range(60):
        loss = term(steps.context(steps.batch(), users, items))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(loss.detach()))
    assert sum(curve[-10:]) < 0.8 * sum(curve[:10])


def test_only_terms_on_vectors_have_parameters_and_the_seed_decides_them() -> None:
    for kind in steps.SCORED:
        assert steps.term(kind).state_dict() == {}
    for kind in steps.VECTOR:
        first, second, other = (steps.term(kind, seed).state_dict() for seed in (1, 1, 2))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert any(not torch.equal(first[name], other[name]) for name in first)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    steps.term("topology")
    assert torch.equal(torch.rand(3), expected)


def test_kinds_and_weights_are_those_configured_in_order() -> None:
    losses = [{"kind": "rrd", "weight": 0.5}, {"kind": "rd", "weight": 2.0}]
    setting = Setting(DistillConfig.model_validate({"losses": losses}), torch.ones(3, dtype=torch.int64))
    assert [(term.kind, term.weight) for term in build_terms(setting, 0)] == [("rrd", 0.5), ("rd", 2.0)]


def test_cd_on_its_own_top_misses_the_teachers_vectors() -> None:
    values = {"kind": "cd", "guide": "student", "reach": 5}
    setting = Setting(DistillConfig.model_validate({"losses": [values]}), torch.ones(3, dtype=torch.int64))
    with pytest.raises(ConfigError, match="cd needs the teacher's vectors"):
        build_terms(setting, 0)
    without = dataclasses.replace(steps.batch(), teacher_vectors=None)
    with pytest.raises(TrainingError, match="no vectors of the teacher"):
        steps.term(**values)(steps.context(without, *steps.vectors()))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", steps.VECTOR)
def test_missing_teacher_vectors_are_named(kind: str) -> None:
    setting = Setting(DistillConfig.model_validate({"losses": [{"kind": kind}]}), torch.ones(3, dtype=torch.int64))
    with pytest.raises(ConfigError, match=f"{kind} needs the teacher's vectors"):
        build_terms(setting, 0)
    without = dataclasses.replace(steps.batch(), teacher_vectors=None)
    with pytest.raises(TrainingError, match="no vectors of the teacher"):
        steps.term(kind)(steps.context(without, *steps.vectors()))
    found = steps.term(kind, rows="items")(steps.context(without, *steps.vectors()))
    assert torch.isfinite(found.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_autocast(kind: str) -> None:
    torch.manual_seed(0)
    users, items = steps.vectors()
    with torch.autocast("cpu", torch.bfloat16):
        loss = steps.term(kind)(steps.context(steps.batch(), users, items, progress=0.5))
    loss.backward()
    assert loss.dtype == torch.float32
    assert users.grad is not None
    assert torch.isfinite(users.grad).all()
