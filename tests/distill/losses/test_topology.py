"""FTD and HTD by hand, zero for rotated teachers, and blind to the rows' order."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdspark.distill.losses import HierarchicalTopology, full_topology, hierarchical_topology


def _vectors(rows: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _rotation(dim: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(_vectors(dim, dim, seed)).Q


def test_full_by_hand() -> None:
    # Student at 0, 90 and 45 degrees: cosines 0, r, r (r = 1/sqrt 2); teacher at 0, 0 and 90: cosines 1, 0, 0.
    student = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    teacher = torch.tensor([[1.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert float(full_topology(student, teacher)) == pytest.approx((1 + 0.5 + 0.5) / 3)
    present = torch.tensor([True, True, False])
    assert float(full_topology(student, teacher, present)) == pytest.approx(1)


def test_full_as_torch() -> None:
    student, teacher = _vectors(5, 3), _vectors(5, 4, 1)
    first, second = torch.triu_indices(5, 5, offset=1)
    errors = F.cosine_similarity(student[first], student[second]) - F.cosine_similarity(teacher[first], teacher[second])
    torch.testing.assert_close(full_topology(student, teacher), errors.square().mean())


@given(st.integers(2, 7), st.integers(1, 5), st.floats(0.01, 100), st.integers(0, 99))
def test_rotations_scales_and_new_dimensions_change_nothing(rows: int, dim: int, scale: float, seed: int) -> None:
    student = _vectors(rows, dim, seed)
    teacher = F.pad(student * scale, (0, 2)) @ _rotation(dim + 2, seed)
    groups = torch.randint(3, (rows,), generator=torch.Generator().manual_seed(seed))
    assert float(full_topology(student, teacher)) == pytest.approx(0, abs=1e-12)
    assert float(hierarchical_topology(student, teacher, groups, 3)) == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    student, teacher = _vectors(6, 3, seed), _vectors(6, 4, seed + 1)
    groups = torch.randint(3, (6,), generator=torch.Generator().manual_seed(seed))
    order = torch.randperm(6)
    torch.testing.assert_close(full_topology(student[order], teacher[order]), full_topology(student, teacher))
    torch.testing.assert_close(
        hierarchical_topology(student[order], teacher[order], groups[order], 3),
        hierarchical_topology(student, teacher, groups, 3),
    )


def test_hierarchical_by_hand() -> None:
    # Groups {0, 1} and {2}; student at 0, 0 and 90 degrees, teacher at 0, 90 and 90, all of length 1.
    # Within: cosines 1 against 0. Among, prototype of {0, 1} with the rows: student 1, 1, 0; teacher (at 45 degrees)
    # r, r, r. Prototype of {2} with the rows: student 0, 0, 1; teacher 0, 1, 1.
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    groups, r = torch.tensor([0, 0, 1]), math.sqrt(0.5)
    among = (2 * (1 - r) ** 2 + r**2 + 0 + 1 + 0) / 6
    assert float(hierarchical_topology(student, teacher, groups, 4)) == pytest.approx(1 + among)


def test_one_group_has_the_full_topology_within() -> None:
    student, teacher = _vectors(5, 3), _vectors(5, 4, 1)
    whole = hierarchical_topology(student, teacher, torch.zeros(5, dtype=torch.int64), 1)
    to_mean = [F.cosine_similarity(x, x.mean(0, keepdim=True)) for x in (student, teacher)]
    torch.testing.assert_close(whole, full_topology(student, teacher) + (to_mean[0] - to_mean[1]).square().mean())


def test_missing_rows_do_not_count() -> None:
    student, teacher, groups = _vectors(5, 3), _vectors(5, 4, 1), torch.tensor([0, 1, 1, 0, 2])
    present = torch.tensor([True, True, True, False, False])
    torch.testing.assert_close(full_topology(student, teacher, present), full_topology(student[:3], teacher[:3]))
    torch.testing.assert_close(
        hierarchical_topology(student, teacher, groups, 3, present),
        hierarchical_topology(student[:3], teacher[:3], groups[:3], 3),
    )


def test_the_module_mixes_topology_and_hints_of_both_sides() -> None:
    torch.manual_seed(0)
    module = HierarchicalTopology(3, 4, groups=2, sides=2, share=0.25).double().eval()
    users = (_vectors(6, 3), _vectors(6, 4, 1), torch.tensor([True] * 5 + [False]))
    items = (_vectors(4, 3, 2), _vectors(4, 4, 3), torch.ones(4, dtype=torch.bool))
    of_users, of_items = (
        hint.selection(side[1]).argmax(1) for hint, side in zip(module.hints, (users, items), strict=True)
    )
    student, teacher, present = (torch.cat(both) for both in zip(users, items, strict=True))
    topology = hierarchical_topology(student, teacher, torch.cat([of_users, of_items + 2]), 4, present)
    hint = module.hints[0](*users[:2], 1.0, users[2]) + module.hints[1](*items[:2], 1.0)
    torch.testing.assert_close(module([users, items], 1.0), 0.25 * topology + 0.75 * hint)


def test_gradient_by_finite_differences_and_at_vectors_of_zero() -> None:
    teacher, groups = _vectors(5, 4, 1), torch.tensor([0, 1, 1, 0, 2])
    present = torch.tensor([True, True, True, True, False])
    student = _vectors(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: full_topology(s, teacher, present), student)
    assert torch.autograd.gradcheck(lambda s: hierarchical_topology(s, teacher, groups, 4, present), student)
    zero = torch.zeros(5, 3, requires_grad=True)
    (full_topology(zero, teacher) + hierarchical_topology(zero, teacher, groups, 4)).backward()
    assert zero.grad is not None
    assert torch.isfinite(zero.grad).all()
    alone = full_topology(_vectors(1, 3), teacher[:1])
    assert float(alone) == 0


def test_learned_groups_by_finite_differences() -> None:
    """The choice of experts is drawn, so each evaluation draws the same; the assignment to groups does not move."""
    torch.manual_seed(0)
    module = HierarchicalTopology(3, 4, 2, 1, 0.5).double()
    teacher, present = _vectors(6, 4, 1), torch.tensor([True] * 5 + [False])

    def loss(student: Tensor) -> Tensor:
        torch.manual_seed(1)
        return module([(student, teacher, present)], 1.0)

    assert torch.autograd.gradcheck(loss, _vectors(6, 3).requires_grad_())
