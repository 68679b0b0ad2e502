"""FTD and HTD: how the rows lie to one another in the student's space comes near how they lie in the teacher's.

Legend: X rows (users, items, or both), D student dims, E teacher dims, G groups.
"""

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdspark.distill.losses.hint import ExpertHint

Side: TypeAlias = tuple[Tensor, Tensor, Tensor]


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

    Hierarchical Topology Distillation, Kang et al. (KDD 2021):

        mean over (g, j) of (cos(S_g, s_j) - cos(T_g, t_j))^2
        + mean over i != j of the same group of (cos(s_i, s_j) - cos(t_i, t_j))^2

    S_g and T_g are prototypes, the means of the rows s_i and t_i of group g; the first pairs are the paper's choice
    Group(P, e). They sum, and hold the prototypes constant in published code; here the student's prototypes carry a
    gradient, and neither level outweighs the other by its number of pairs.

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
    """HTD whose groups are learned: share * topology + (1 - share) * hint, the mean over pairs and over rows.

    As in Kang et al. (KDD 2021) users and items have groups of their own, one per expert of an `ExpertHint`, and the
    hint is what trains the assignment: rows that one projection serves well belong together. The topology is that of
    all rows together, each in its likeliest group; the hints of the sides are added.

    Args:
        student_dim, teacher_dim: D and E.
        groups: G, per side.
        sides: 2 for users and items, 1 for either.
        share: weight of the topology beside that of the hint, 0 to 1.
    """

    def __init__(self, student_dim: int, teacher_dim: int, groups: int, sides: int, share: float) -> None:
        super().__init__()
        self.hints = nn.ModuleList(ExpertHint(student_dim, teacher_dim, groups) for _ in range(sides))
        self.groups, self.share = groups, share

    def forward(self, sides: Sequence[Side], temperature: float) -> Tensor:
        """The loss, a scalar.

        Args:
            sides: per side the student's vectors [X, D], the teacher's [X, E], and bool [X], False for rows that do
                not count.
            temperature: of the hint's Gumbel softmax.
        """
        hints = [cast(ExpertHint, hint) for hint in self.hints]
        losses = [hint(*side[:2], temperature, side[2]) for hint, side in zip(hints, sides, strict=True)]
        chosen = [hint.selection(side[1]).argmax(dim=1) for hint, side in zip(hints, sides, strict=True)]
        groups_X = torch.cat([of_X + self.groups * number for number, of_X in enumerate(chosen)])
        student_XD, teacher_XE, present_X = (torch.cat(parts) for parts in zip(*sides, strict=True))
        topology = hierarchical_topology(student_XD, teacher_XE, groups_X, self.groups * len(sides), present_X)
        return self.share * topology + (1 - self.share) * torch.stack(losses).sum()


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
