"""Losses on the teacher's ranking: RD, CD and RRD.

They are pure functions of scores; what is drawn at random is drawn by `draw_*`, so that a loss can be checked by hand.

Legend: B rows, K items that the teacher ranks highest, its best first, C candidates, S sampled, L uninteresting items.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kdspark.distill.losses.sampling import draw_columns, in_order, rank_log_weights
from kdspark.distill.losses.softmax import row_mean


def ranking_distillation(scores_BK: Tensor, weights_BK: Tensor) -> Tensor:
    """RD: -sum_r w_r log sigmoid(s_r), w normalised to a sum of 1 per row; the mean over rows with any weight.

    Ranking Distillation, Tang & Wang (KDD 2018). The teacher's top K count as positives, the higher the
    more; nothing is pushed down, which is why it needs the hard loss beside it.

    Args:
        scores_BK: student's scores of the teacher's top K.
        weights_BK: not negative, 0 where an item is missing (`position_weights`, times `discrepancy_weights`).
    """
    total_B1 = weights_BK.sum(dim=1, keepdim=True)
    counts_B1 = total_B1 > 0
    shares_BK = weights_BK / torch.where(counts_B1, total_B1, 1.0)
    losses_B = (shares_BK * -F.logsigmoid(torch.where(weights_BK > 0, scores_BK, 0.0))).sum(dim=1)
    return losses_B.sum() / counts_B1.sum().clamp(min=1)


def position_weights(present_BK: Tensor, decay: float) -> Tensor:
    """exp(-r / decay) for the teacher's r-th item, r from 1; 0 where none is present.

    Tang & Wang's importance by position.
    """
    ranks_K = torch.arange(1, present_BK.shape[1] + 1, device=present_BK.device, dtype=torch.float32)
    return torch.exp(-ranks_K / decay) * present_BK


def discrepancy_weights(ranks_BK: Tensor, mu: float) -> Tensor:
    """tanh(max(mu * (student's rank - r), 0)): an item weighs nothing once the student ranks it as high as the teacher.

    Tang & Wang's discrepancy of ranks; the product of both weights is what they call hybrid.

    Args:
        ranks_BK: the student's ranks of the teacher's r-th items, r from 1.
        mu: sharpness, per rank.
    """
    ranks_K = torch.arange(1, ranks_BK.shape[1] + 1, device=ranks_BK.device, dtype=torch.float32)
    return torch.tanh(torch.clamp(mu * (ranks_BK - ranks_K), min=0))


def estimated_ranks(scores_BK: Tensor, sampled_BS: Tensor, n_items: int) -> Tensor:
    """1 + floor(share of the sample scored above * (n_items - 1)): ranks, from 1, without scoring the catalogue.

    As Tang & Wang estimate it. No gradient passes.

    Args:
        sampled_BS: the student's scores of uniformly drawn items; -inf for those that will never be recommended.
        n_items: size of the catalogue drawn from.
    """
    ordered_BS = sampled_BS.detach().sort(dim=1).values
    at_most_BK = torch.searchsorted(ordered_BS, scores_BK.detach().contiguous(), right=True)
    above_BK = ordered_BS.shape[1] - at_most_BK
    # in integers: a float32 product loses the last unit, and with it a rank
    return 1 + torch.div(above_BK * (n_items - 1), max(1, ordered_BS.shape[1]), rounding_mode="floor")


def collaborative_targets(logits_BC: Tensor, temperature: float, shift: float) -> Tensor:
    """CD's soft targets q = sigmoid((teacher's logit + shift) / temperature), Lee et al. (ICDM 2019)."""
    return torch.sigmoid((logits_BC + shift) / temperature)


def draw_by_rank(present_BC: Tensor, decay: float, size: int) -> Tensor:
    """CD's items: up to `size` distinct columns with probability proportional to exp(-rank / decay), rank = column.

    Rank-aware sampling, Lee et al. (ICDM 2019): the columns follow the teacher's order in teacher-guided training, the
    student's in student-guided training.

    Returns:
        int64 [B, S]; PAD where a row has fewer.
    """
    return draw_columns(rank_log_weights(present_BC, decay), size)


def collaborative_distillation(scores_BS: Tensor, targets_BS: Tensor, present_BS: Tensor) -> Tensor:
    """CD: -[q log sigmoid(s) + (1 - q) log(1 - sigmoid(s))]; the mean over a row's items, then over rows with any.

    Collaborative Distillation, Lee et al. (ICDM 2019). Least, but not zero, at sigmoid(s) = q.

    Args:
        scores_BS: student's scores of the drawn items.
        targets_BS: q, from `collaborative_targets`.
        present_BS: False where nothing was drawn.
    """
    scores_BS = torch.where(present_BS, scores_BS, 0.0)
    losses_BS = F.binary_cross_entropy_with_logits(scores_BS, targets_BS.to(scores_BS.dtype), reduction="none")
    return row_mean(losses_BS, present_BS)


def draw_interesting(present_BK: Tensor, decay: float, size: int) -> Tensor:
    """RRD's interesting items: up to `size` distinct columns, drawn by exp(-rank / decay), in the teacher's order.

    As Kang et al. (CIKM 2020) sample them anew every epoch.

    Returns:
        int64 [B, K]; PAD, on the right, where a row has fewer.
    """
    return in_order(draw_columns(rank_log_weights(present_BK, decay), size))


def relaxed_ranking(scores_BK: Tensor, present_BK: Tensor, others_BL: Tensor, others_present_BL: Tensor) -> Tensor:
    """RRD: -sum_k [s_k - log(sum_{i >= k} exp(s_i) + sum_j exp(s_j))]; the mean over rows with an interesting item.

    Relaxed Ranking Distillation, Kang et al. (CIKM 2020): the likelihood (Plackett-Luce) that the K interesting
    items come in the teacher's order and all uninteresting ones j after them, in any order.

    Args:
        scores_BK: student's scores of the interesting items, the teacher's best first.
        others_BL: student's scores of the uninteresting items; L may be 0.
        present_BK, others_present_BL: False where an item is missing.
    """
    low = torch.finfo(scores_BK.dtype).min / 4  # exp(low) is 0, yet its gradient is not NaN as that of -inf would be
    scores_BK = torch.where(present_BK, scores_BK, low)
    below_BK = scores_BK.flip(1).logcumsumexp(dim=1).flip(1)
    if others_BL.shape[1]:
        others_B1 = torch.where(others_present_BL, others_BL, low).logsumexp(dim=1, keepdim=True)
        below_BK = torch.logaddexp(below_BK, others_B1)
    losses_B = torch.where(present_BK, below_BK - scores_BK, 0.0).sum(dim=1)
    return losses_B.sum() / present_BK.any(dim=1).sum().clamp(min=1)
