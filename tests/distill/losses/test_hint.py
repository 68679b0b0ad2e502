"""DE by hand, against torch's own layers, and its selection of experts."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdspark.distill.losses import ExpertHint, annealed


def _hint(student: int, teacher: int, experts: int, seed: int = 0) -> ExpertHint:
    torch.manual_seed(seed)
    return ExpertHint(student, teacher, experts).double()


def _vectors(rows: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_one_expert_is_an_mlp() -> None:
    hint, student, teacher = _hint(3, 5, 1), _vectors(4, 3), _vectors(4, 5, 1)
    mlp = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5)).double()
    with torch.no_grad():
        for layer, weight, bias in ((0, hint.into_GDH, hint.into_bias_GH), (2, hint.out_GHE, hint.out_bias_GE)):
            bias.normal_()
            mlp[layer].weight.copy_(weight[0].T)
            mlp[layer].bias.copy_(bias[0])
    expected = F.mse_loss(mlp(student), teacher, reduction="none").sum(1).mean()
    torch.testing.assert_close(hint(student, teacher, 1.0), expected)


def test_by_hand() -> None:
    # Two experts that pass s through (H = E = D = 1), times 1 and times 10; the selection's first logit is t.
    hint = ExpertHint(1, 1, 2).eval()
    with torch.no_grad():
        hint.into_GDH.fill_(1.0)
        hint.out_GHE.copy_(torch.tensor([[[1.0]], [[10.0]]]))
        hint.selection.weight.copy_(torch.tensor([[1.0], [0.0]]))
        hint.selection.bias.zero_()
    # t = 3 chooses the first: (3 - 2)^2; t = -4 the second: (-4 - 20)^2.
    loss = hint(torch.tensor([[2.0], [2.0]]), torch.tensor([[3.0], [-4.0]]), 1.0)
    assert float(loss.detach()) == pytest.approx((1 + 576) / 2)


def test_zero_where_the_experts_reproduce_the_teacher() -> None:
    hint, student = _hint(3, 5, 4).eval(), _vectors(6, 3)
    chosen = F.one_hot(torch.zeros(6, dtype=torch.int64), 4).double()
    with torch.no_grad():
        hint.selection.weight.zero_()
        hint.selection.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
    teacher = hint.project(student, chosen).detach()
    assert float(hint(student, teacher, 1.0).detach()) == pytest.approx(0, abs=1e-20)


def test_missing_rows_do_not_count() -> None:
    hint, student, teacher = _hint(3, 5, 4).eval(), _vectors(6, 3), _vectors(6, 5, 1)
    present = torch.tensor([True, False, True, False, False, False])
    torch.testing.assert_close(hint(student, teacher, 1.0, present), hint(student[present], teacher[present], 1.0))
    student.requires_grad_()
    loss = hint(student, teacher, 1.0, torch.zeros(6, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_the_selection_is_a_gumbel_softmax() -> None:
    hint = _hint(3, 5, 4)
    teacher = _vectors(1, 5).expand(20_000, 5)
    torch.manual_seed(1)
    chosen = hint.choose(teacher, 0.5).detach()
    torch.testing.assert_close(chosen.sum(1), torch.ones(20_000, dtype=torch.float64))
    counts = torch.bincount(chosen.argmax(1), minlength=4) / 20_000  # the arg max is a draw from the softmax
    torch.testing.assert_close(counts.double(), hint.selection(teacher[0]).softmax(0).detach(), atol=0.015, rtol=0)
    torch.manual_seed(1)
    expected = F.gumbel_softmax(hint.selection(teacher), tau=0.5, dim=1)
    assert abs(float((expected.max(1).values.mean() - chosen.max(1).values.mean()).detach())) < 0.01


def test_low_temperatures_choose_one_expert_and_stay_finite() -> None:
    hint, student, teacher = _hint(3, 5, 4), _vectors(50, 3), _vectors(50, 5, 1)
    assert float(hint.choose(teacher, 1e-10).detach().max(1).values.min()) > 0.999
    hint(student, teacher, 1e-10).backward()
    assert all(torch.isfinite(p.grad).all() for p in hint.parameters() if p.grad is not None)


def test_annealing_by_hand() -> None:
    assert annealed(1.0, 0.01, 0.0) == 1.0
    assert annealed(1.0, 0.01, 0.5) == pytest.approx(0.1)
    assert annealed(1.0, 0.01, 1.0) == pytest.approx(0.01)


def test_gradient_by_finite_differences() -> None:
    hint, student, teacher = _hint(2, 3, 2).eval(), _vectors(4, 2), _vectors(4, 3, 1)
    present = torch.tensor([True, True, False, True])
    assert torch.autograd.gradcheck(lambda s: hint(s, teacher, 1.0, present), student.requires_grad_())

    def of_weights(into: Tensor, out: Tensor, selection: Tensor) -> Tensor:
        torch.manual_seed(3)  # the same noise in every call
        weights = {"into_GDH": into, "out_GHE": out, "selection.weight": selection}
        found: Tensor = torch.func.functional_call(hint.train(), weights, (student.detach(), teacher, 1.0))
        return found

    weights = [hint.into_GDH, hint.out_GHE, hint.selection.weight]
    assert torch.autograd.gradcheck(of_weights, [w.detach().clone().requires_grad_() for w in weights])


def test_the_same_seed_gives_the_same_module() -> None:
    first, second = _hint(3, 5, 4, seed=7), _hint(3, 5, 4, seed=7)
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)
