"""FTD and HTD: how the rows lie to one another in the student's space comes near how they lie in the teacher's.

Legend: X rows (users, items, or both), D student dims, E teacher dims, G groups.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdspark.distill.losses.hint import ExpertHint


def full_topology(student_XD: Tensor, teacher_XE: Tensor, present_X: Tensor | None = None) -> Tensor:
    """(cos(s_i, s_j) - cos(t_i, t_j))^2, the mean over pairs of different rows; 0 with fewer than two rows.

    Full Topology Distillation, Kang et al. (KDD 2021), who sum over pairs.

    Args:
        student_XD, teacher_XE: vectors of the same rows; D and E may differ.
        present_X: False for rows that do not count.
    """
    present_X = _present(student_XD, present_X)
    pairs_XX = (present_X[:, None] & present_X).fill_diagonal_(False)
    return _mean_of(_cosine_errors(student_XD, student_XD, teacher_XE, teacher_XE), pairs_XX)


def hierarchical_topology(
    student_XD: Tensor, teacher_XE: Tensor, groups_X: Tensor, groups: int, present_X: Tensor | None = None
) -> Tensor:
    """Topology among groups, plus topology within them: a small student need not know how all rows lie.

    Hierarchical Topology Distillation, Kang et al. (KDD 2021): the mean over pairs of rows in the same group of the
    squared differences of cosines, plus the mean over pairs (prototype, row), a prototype being the mean of its group's
    rows; these pairs are the paper's choice Group(P, e). They sum, and hold the prototypes constant in published code;
    here the student's prototypes carry a gradient, and neither level outweighs the other by its number of pairs.

    Args:
        student_XD, teacher_XE: vectors of the same rows.
        groups_X: int64 in 0..groups-1.
        present_X: False for rows that do not count.
    """
    present_X = _present(student_XD, present_X)
    members_GX = F.one_hot(groups_X, groups).T.bool() & present_X
    shares_GX = members_GX / members_GX.sum(dim=1, keepdim=True).clamp(min=1)
    errors_GX = _cosine_errors(
        shares_GX.to(student_XD.dtype) @ student_XD, student_XD, shares_GX.to(teacher_XE.dtype) @ teacher_XE, teacher_XE
    )
    among = _mean_of(errors_GX, members_GX.any(dim=1, keepdim=True) & present_X)
    pairs_XX = ((groups_X[:, None] == groups_X) & present_X[:, None] & present_X).fill_diagonal_(False)
    return among + _mean_of(_cosine_errors(student_XD, student_XD, teacher_XE, teacher_XE), pairs_XX)


class HierarchicalTopology(nn.Module):
    """HTD whose groups are learned: share * topology + (1 - share) * hint, the mean over rows or pairs.

    The groups are those of `ExpertHint`, one per expert, and the hint is what trains the assignment, as in Kang et al.
    (KDD 2021): rows that one projection serves well belong together. The topology uses each row's likeliest group.

    Args:
        student_dim, teacher_dim, groups: sizes.
        share: weight of the topology beside that of the hint, 0 to 1.
    """

    def __init__(self, student_dim: int, teacher_dim: int, groups: int, share: float) -> None:
        super().__init__()
        self.hint, self.share = ExpertHint(student_dim, teacher_dim, groups), share

    def forward(
        self, student_XD: Tensor, teacher_XE: Tensor, temperature: float, present_X: Tensor | None = None
    ) -> Tensor:
        """The loss, a scalar. Arguments as those of the two losses."""
        logits_XG = self.hint.selection(teacher_XE)
        groups = logits_XG.shape[1]
        topology = hierarchical_topology(student_XD, teacher_XE, logits_XG.argmax(dim=1), groups, present_X)
        hint: Tensor = self.hint(student_XD, teacher_XE, temperature, present_X)
        return self.share * topology + (1 - self.share) * hint


def _cosine_errors(student_YD: Tensor, student_XD: Tensor, teacher_YE: Tensor, teacher_XE: Tensor) -> Tensor:
    return (_cosines(student_YD, student_XD) - _cosines(teacher_YE, teacher_XE)).square()


def _cosines(first_YD: Tensor, second_XD: Tensor) -> Tensor:
    return F.normalize(first_YD, dim=1) @ F.normalize(second_XD, dim=1).T


def _mean_of(errors: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, errors, 0.0).sum() / counted.sum().clamp(min=1)


def _present(rows_XD: Tensor, present_X: Tensor | None) -> Tensor:
    if present_X is not None:
        return present_X
    return torch.ones(len(rows_XD), dtype=torch.bool, device=rows_XD.device)
