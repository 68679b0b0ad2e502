"""UnKD: the teacher's order within groups of equally popular items, so that popularity is not what is taught.

Legend: B rows, C candidates (the teacher's best first), N items, G groups, P pairs per group, X = G * P pairs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kdspark.distill.losses.softmax import row_mean
from kdspark.tables import PAD


def popularity_groups(n_events_N: Tensor, groups: int) -> Tensor:
    """int64 [N]: groups 0 (the most popular items) to groups - 1, of nearly equal total events.

    As in Chen et al. (WSDM 2023). An item belongs where the middle of its events falls in the list of all events
    ordered by popularity; ties go by item_idx. A very popular item may fill a group, or more than one, by itself.

    Args:
        n_events_N: events per item, not negative.
    """
    order_N = n_events_N.argsort(descending=True, stable=True)
    events_N = n_events_N[order_N].to(torch.float64)
    middle_N = events_N.cumsum(0) - events_N / 2
    shares_N = middle_N / events_N.sum().clamp(min=1)
    ordered_N = (shares_N * groups).floor().to(torch.int64).clamp(max=groups - 1)
    return torch.empty_like(ordered_N).scatter_(0, order_N, ordered_N)


def draw_group_pairs(groups_BC: Tensor, groups: int, decay: float, pairs: int) -> tuple[Tensor, Tensor]:
    """Per row and group `pairs` pairs of its candidates, each item drawn with probability ~ exp(-rank / decay).

    The rank counts the group's candidates that the teacher prefers, from 0. Both items are drawn independently, the one
    the teacher prefers comes first, and a pair of twice the same item is left out: as in the authors' published code,
    but among the row's candidates instead of the group's top 1000.

    Args:
        groups_BC: group of each candidate, the teacher's best candidate first; PAD where there is none.

    Returns:
        Columns [B, X] of the preferred and of the other items; PAD in both where a pair is missing.
    """
    by_group_BC = torch.where(groups_BC == PAD, groups, groups_BC)
    order_BC = by_group_BC.argsort(dim=1, stable=True)  # stable: within a group the teacher's order stays
    members = [(groups_BC == group).sum(dim=1) for group in range(groups)]
    sizes_BG = torch.stack(members, dim=1)
    starts_BG = sizes_BG.cumsum(dim=1) - sizes_BG
    ranks = [_draw_ranks(sizes_BG, decay, pairs) for _ in range(2)]
    better_BGP, worse_BGP = torch.minimum(*ranks), torch.maximum(*ranks)
    present_BX = (better_BGP < worse_BGP).flatten(1)
    columns = []
    for ranks_BGP in (better_BGP, worse_BGP):
        places_BX = (starts_BG[:, :, None] + ranks_BGP).flatten(1)
        drawn_BX = order_BC.gather(1, torch.where(present_BX, places_BX, 0))
        columns.append(torch.where(present_BX, drawn_BX, PAD))
    return columns[0], columns[1]


def pairwise_ranking(better_BX: Tensor, worse_BX: Tensor, present_BX: Tensor) -> Tensor:
    """UnKD: -log sigmoid(s+ - s-); the mean over a row's pairs, then over rows with any.

    Unbiased Knowledge Distillation, Chen et al. (WSDM 2023): they sum over pairs, which makes the loss grow with their
    number.

    Args:
        better_BX, worse_BX: student's scores of the pairs' items.
        present_BX: False where a pair is missing.
    """
    margins_BX = torch.where(present_BX, better_BX - worse_BX, 0.0)
    return row_mean(-F.logsigmoid(margins_BX), present_BX)


def _draw_ranks(sizes_BG: Tensor, decay: float, pairs: int) -> Tensor:
    """Ranks [B, G, P] in 0..size-1 with probability ~ exp(-rank / decay), by inversion; 0 for an empty group."""
    uniform_BGP = torch.rand(*sizes_BG.shape, pairs, device=sizes_BG.device, dtype=torch.float64)
    mass_BG1 = -torch.expm1(-sizes_BG[:, :, None].to(torch.float64) / decay)
    ranks_BGP = (-decay * torch.log1p(-uniform_BGP * mass_BG1)).floor().to(torch.int64)
    return torch.minimum(ranks_BGP, (sizes_BG[:, :, None] - 1)).clamp(min=0)
