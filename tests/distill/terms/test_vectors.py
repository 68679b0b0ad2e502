"""DE and topology on users, items or both."""

import dataclasses

import pytest
import torch

from kdspark.distill.losses import ExpertHint, full_topology
from kdspark.distill.terms.vectors import HintTerm, TopologyTerm
from tests.distill.terms import steps

ALL = steps.ITEMS  # sampling all items leaves nothing to chance


@pytest.mark.parametrize("rows", ["users", "items", "both"])
def test_full_topology_of_the_rows_asked_for(rows: str) -> None:
    users, items = steps.vectors()
    context = steps.context(steps.batch(), users, items)
    drawn = {} if rows == "users" else {"items": ALL}
    found = steps.term("topology", hierarchical=False, rows=rows, **drawn)(context)
    pairs = {"users": (users, context.batch.teacher_vectors), "items": (items, steps.teacher_items())}
    chosen = [pairs[side] for side in (["users", "items"] if rows == "both" else [rows])]
    student, teacher = (torch.cat(parts) for parts in zip(*chosen, strict=True))  # type: ignore[arg-type]
    torch.testing.assert_close(found, full_topology(student, teacher))


def test_hierarchical_topology_mixes_with_its_hint_by_share_and_chooses_groups_by_temperature() -> None:
    context = steps.context(steps.batch(), *steps.vectors())

    def loss(**values: float) -> float:
        torch.manual_seed(3)
        return float(steps.term("topology", seed=4, items=ALL, groups=3, **values)(context).detach())

    quarter, half, most = (loss(share=share) for share in (0.25, 0.5, 0.75))
    assert quarter + most == pytest.approx(2 * half)
    assert abs(quarter - most) > 1e-3
    assert abs(loss(temperature=1.0) - loss(temperature=0.1)) > 1e-4


def test_topology_is_zero_for_a_rotated_teacher() -> None:
    rotation = torch.linalg.qr(torch.randn(steps.TEACHER_DIM, steps.TEACHER_DIM)).Q
    rows = steps.batch()
    assert rows.teacher_vectors is not None
    context = steps.context(rows, rows.teacher_vectors @ rotation, steps.teacher_items() @ rotation)
    found = steps.term("topology", hierarchical=False)(context)
    assert float(found) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("kind", steps.VECTOR)
def test_users_that_the_teacher_does_not_know_do_not_count(kind: str) -> None:
    users, items = steps.vectors()
    rows = steps.batch()
    assert rows.teacher_vectors is not None
    vectors = rows.teacher_vectors.clone()
    vectors[2:] = 0
    rows = dataclasses.replace(rows, teacher_vectors=vectors)
    steps.term(kind, rows="users")(steps.context(rows, users, items)).backward()
    assert users.grad is not None
    moved = users.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [True, True, False, False, False, False]


def test_the_hint_of_both_sides_is_the_sum() -> None:
    term = steps.term("de", rows="both", items=ALL, experts=3).eval()
    assert isinstance(term, HintTerm)
    users, items = steps.vectors()
    context = steps.context(steps.batch(), users, items)
    of_users = term.hints[0](users, context.batch.teacher_vectors, 1.0)
    of_items = term.hints[1](items, steps.teacher_items(), 1.0)
    torch.testing.assert_close(term(context), of_users + of_items)


def test_the_temperature_falls_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    term = steps.term("de", rows="users", temperature=10.0, final_temperature=1e-6, experts=4)
    seen: list[float] = []
    choose = ExpertHint.choose

    def watched(self: ExpertHint, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        seen.append(temperature)
        return choose(self, teacher, temperature)

    monkeypatch.setattr(ExpertHint, "choose", watched)
    for progress in (0.0, 0.5, 1.0):
        term(steps.context(steps.batch(), *steps.vectors(), progress=progress))
    assert seen == pytest.approx([10.0, 10.0**-2.5, 1e-6])


def test_groups_of_users_and_items_are_apart() -> None:
    term = steps.term("topology", groups=7, rows="both")
    assert isinstance(term, TopologyTerm)
    assert term.groups is not None
    assert len(term.groups.hints) == 2
    assert steps.term("topology", groups=7, rows="items").groups.hints[0].selection.out_features == 7  # type: ignore[union-attr, index]
