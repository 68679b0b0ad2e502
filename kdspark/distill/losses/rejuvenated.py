"""RCE-KD: cross-entropy on the teacher's top items, against the items that the student itself ranks above them.

Cross-entropy on a subset of items bounds NDCG only if the subset is closed: whatever the student ranks above one of
its items is in it too. The student's own top is closed; the teacher's top is not. So the part of the teacher's top that
is in the student's is learned against the student's top, and the rest against itself and sampled items from above it.

Legend: B rows, K teacher's top items (Q_T), M student's top items (Q_S), R items that the student ranks highest, from
which S are sampled, O competitors outside the teacher's top.
"""

import torch
from torch import Tensor

from kdspark.distill.losses.sampling import draw_columns
from kdspark.tables import PAD


def within(items_BK: Tensor, others_BM: Tensor) -> Tensor:
    """bool [B, K]: whether an item is among the row's others; PAD is not."""
    if others_BM.shape[1] == 0:
        return torch.zeros_like(items_BK, dtype=torch.bool)
    ordered_BM = others_BM.sort(dim=1).values  # a comparison of all with all would take [B, K, M]
    place_BK = torch.searchsorted(ordered_BM, items_BK.contiguous()).clamp(max=ordered_BM.shape[1] - 1)
    return (ordered_BM.gather(1, place_BK) == items_BK) & (items_BK != PAD)


def closure_counts(scores_BR: Tensor, rest_scores_BK: Tensor, rest_BK: Tensor) -> Tensor:
    """z: how many of the teacher's remaining top items (Q_2) the student ranks below each item, int64 [B, R].

    Args:
        scores_BR: student's scores of the items that might be sampled.
        rest_scores_BK: student's scores of the teacher's top.
        rest_BK: True for Q_2.
    """
    ordered_BK = torch.where(rest_BK, rest_scores_BK, torch.inf).detach().sort(dim=1).values
    return torch.searchsorted(ordered_BK, scores_BR.detach().contiguous())


def draw_closure(counts_BR: Tensor, present_BR: Tensor, tau: float, size: int) -> Tensor:
    """Up to `size` distinct columns with z > 0, with probability ~ exp(z / tau); int64 [B, S], PAD where fewer.

    Zhu & Zhang (ICLR 2026): while the student ranks the teacher's items low, z is large everywhere and the draw nearly
    uniform; later it concentrates on the few items that still stand above them.
    """
    usable_BR = present_BR & (counts_BR > 0)
    return draw_columns(torch.where(usable_BR, counts_BR / tau, -torch.inf), size)


def rejuvenated_cross_entropy(
    scores_BK: Tensor,
    targets_BK: Tensor,
    shared_BK: Tensor,
    drawn_BK: Tensor,
    own_BO: Tensor,
    sampled_BO: Tensor,
    beta: float,
) -> Tensor:
    """(1 - g) L_1 + g L_2 with g = exp(-beta |Q_1| / |Q_T|), in nats; the mean over rows with a target.

    L_1 = -sum_{i in Q_1} p_i log softmax(s over Q_S)_i with Q_1 = Q_T and Q_S in common;
    L_2 = -sum_{i in A + Q_2} p_i log softmax(s over A + Q_2)_i with Q_2 = Q_T without Q_1 and A the sampled items;
    p is the teacher's distribution, restricted to the items of each sum and normalised.

    Rejuvenated Cross-Entropy for Knowledge Distillation, Zhu & Zhang (ICLR 2026, arXiv 2509.20989): the split, the
    sampling (`draw_closure`) and the mixture by overlap, per row, are theirs. Different here: p is 0 outside the
    teacher's top, whose scores are all that the soft labels hold (theirs asks the teacher about the student's items
    too), and p may come from ranks.

    Args:
        scores_BK: student's scores of the teacher's top.
        targets_BK: the teacher's weight of each, not negative; 0 where an item is missing.
        shared_BK: True for Q_1 (`within` the student's top).
        drawn_BK: True for items of Q_1 that are in A.
        own_BO: student's scores of its top items that are not in the teacher's; -inf where there is none.
        sampled_BO: student's scores of the sampled items that are not in the teacher's top; -inf where there is none.
        beta: how fast the weight moves from L_2 to L_1 as the overlap grows.
    """
    top_BK = targets_BK > 0
    first_BK, second_BK = top_BK & shared_BK, top_BK & (~shared_BK | drawn_BK)
    counts_B = top_BK.sum(dim=1)
    gamma_B = torch.exp(-beta * first_BK.sum(dim=1) / counts_B.clamp(min=1))
    losses_B = (1 - gamma_B) * _restricted_cross_entropy(scores_BK, targets_BK, first_BK, own_BO)
    losses_B = losses_B + gamma_B * _restricted_cross_entropy(scores_BK, targets_BK, second_BK, sampled_BO)
    return losses_B.sum() / (counts_B > 0).sum().clamp(min=1)


def _restricted_cross_entropy(scores_BK: Tensor, targets_BK: Tensor, inside_BK: Tensor, others_BO: Tensor) -> Tensor:
    """Cross-entropy per row [B] of the targets inside, over those items and the others; 0 where none is inside."""
    low = torch.finfo(scores_BK.dtype).min / 4  # a row of -inf would have NaN gradients
    classes = [torch.where(inside_BK, scores_BK, low), torch.where(torch.isfinite(others_BO), others_BO, low)]
    log_sum_B1 = torch.cat(classes, dim=1).logsumexp(dim=1, keepdim=True)
    weights_BK = torch.where(inside_BK, targets_BK, 0.0)
    total_B1 = weights_BK.sum(dim=1, keepdim=True)
    shares_BK = weights_BK / torch.where(total_B1 > 0, total_B1, 1.0)
    return (shares_BK * torch.where(inside_BK, log_sum_B1 - scores_BK, 0.0)).sum(dim=1)
