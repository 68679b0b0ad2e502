"""DE: the student's vectors, through one of several experts, come near the teacher's.

Legend: X rows (users or items), D student dims, H hidden units, E teacher dims, G experts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdspark.distill.losses.sampling import gumbel_like


class ExpertHint(nn.Module):
    """|t - sum_g z_g f_g(s)|^2, the mean over rows: G experts f_g, of which z selects one by the teacher's vector t.

    Distillation Experts, Kang et al. (CIKM 2020): rows that the teacher places alike share an expert, so that the
    student need not squeeze all of the teacher's space through one projection. An expert is an MLP with one hidden
    layer of (D + E) / 2 units; z is a Gumbel softmax of a linear map of t. Different here: the mean over rows, not the
    sum, and the temperature ends at .1 or wherever the caller says, not at 1e-10.

    Args:
        student_dim, teacher_dim: D and E.
        experts: G; the weights of all of them are drawn by torch's global generator.
    """

    def __init__(self, student_dim: int, teacher_dim: int, experts: int) -> None:
        super().__init__()
        hidden = max(1, (student_dim + teacher_dim) // 2)
        self.into_GDH = nn.Parameter(_uniform(experts, student_dim, hidden))
        self.into_bias_GH = nn.Parameter(torch.zeros(experts, hidden))
        self.out_GHE = nn.Parameter(_uniform(experts, hidden, teacher_dim))
        self.out_bias_GE = nn.Parameter(torch.zeros(experts, teacher_dim))
        self.selection = nn.Linear(teacher_dim, experts)

    def forward(
        self, student_XD: Tensor, teacher_XE: Tensor, temperature: float, present_X: Tensor | None = None
    ) -> Tensor:
        """The loss, a scalar; rows that are not present do not count.

        Args:
            temperature: of the Gumbel softmax; in evaluation mode the likeliest expert is taken instead.
        """
        chosen_XG = self.choose(teacher_XE, temperature)
        errors_X = (teacher_XE - self.project(student_XD, chosen_XG)).square().sum(dim=1)
        if present_X is None:
            present_X = torch.ones_like(errors_X, dtype=torch.bool)
        return torch.where(present_X, errors_X, 0.0).sum() / present_X.sum().clamp(min=1)

    def choose(self, teacher_XE: Tensor, temperature: float) -> Tensor:
        """z [X, G], not negative, with sum 1."""
        logits_XG: Tensor = self.selection(teacher_XE)
        if not self.training:
            return F.one_hot(logits_XG.argmax(dim=1), logits_XG.shape[1]).to(logits_XG.dtype)
        return ((logits_XG.log_softmax(dim=1) + gumbel_like(logits_XG)) / temperature).softmax(dim=1)

    def project(self, student_XD: Tensor, chosen_XG: Tensor) -> Tensor:
        """sum_g z_g f_g(s), [X, E]."""
        hidden_XGH = torch.einsum("xd,gdh->xgh", student_XD, self.into_GDH) + self.into_bias_GH
        # z is applied before the second map: the experts' outputs [X, G, E] never exist
        weighted_XGH = hidden_XGH.relu() * chosen_XG[:, :, None]
        return torch.einsum("xgh,ghe->xe", weighted_XGH, self.out_GHE) + chosen_XG @ self.out_bias_GE


def annealed(start: float, end: float, progress: float) -> float:
    """start * (end / start)^progress: the temperature falls by the same factor in every step.

    Args:
        progress: share of the training that is done, 0 to 1.
    """
    return float(start * (end / start) ** progress)


def _uniform(groups: int, fan_in: int, fan_out: int) -> Tensor:
    """Weights as nn.Linear draws them."""
    bound = fan_in**-0.5
    return torch.empty(groups, fan_in, fan_out).uniform_(-bound, bound)
