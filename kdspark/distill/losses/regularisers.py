"""Regularisers: how sure a model is of its output, and whether two views of one history mean the same to it.

Legend: B rows, C classes (candidates, a sample, or the catalogue), D dims.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def confidence_penalty(scores_BC: Tensor) -> Tensor:
    """-H(softmax(scores)), in nats, the mean over rows with a score: a positive weight keeps a model unsure.

    Pereyra et al. (2017). A teacher that is less sure has softer labels; a negative weight makes it surer. Between
    -log(C), a uniform output, and 0, all on one class.

    Args:
        scores_BC: -inf leaves a class out; a row of -inf does not count.
    """
    inside_BC = torch.isfinite(scores_BC)
    log_p_BC = _log_softmax(scores_BC, inside_BC)
    losses_B = torch.where(inside_BC, log_p_BC.exp() * log_p_BC, 0.0).sum(dim=1)
    return losses_B.sum() / inside_BC.any(dim=1).sum().clamp(min=1)


def score_consistency(first_BC: Tensor, second_BC: Tensor, temperature: float = 1.0) -> Tensor:
    """(KL(p || q) + KL(q || p)) / 2, p and q the softmax of each view's scores / T; the mean over rows with a class.

    The symmetric divergence of R-Drop (Liang et al., 2021), here between two augmented views of one history. Zero where
    both views have the same distribution. In nats, without a factor T^2.

    Args:
        first_BC, second_BC: scores of the same items by the two views; -inf in either leaves a class out of both.
    """
    inside_BC = torch.isfinite(first_BC) & torch.isfinite(second_BC)
    log_p_BC, log_q_BC = (_log_softmax(scores / temperature, inside_BC) for scores in (first_BC, second_BC))
    # KL(p || q) + KL(q || p) = sum (p - q) (log p - log q)
    losses_BC = (log_p_BC.exp() - log_q_BC.exp()) * (log_p_BC - log_q_BC)
    losses_B = torch.where(inside_BC, losses_BC, 0.0).sum(dim=1) / 2
    return losses_B.sum() / inside_BC.any(dim=1).sum().clamp(min=1)


def vector_consistency(first_BD: Tensor, second_BD: Tensor) -> Tensor:
    """1 - cos of a user's vectors from two views, the mean over rows with two vectors; 0 to 2, zero if parallel.

    Costs no scores at all, which is what it is for. A vector of zeros has no direction; its row does not count.
    """
    present_B = (first_BD != 0).any(dim=1) & (second_BD != 0).any(dim=1)
    losses_B = 1 - (F.normalize(first_BD, dim=1) * F.normalize(second_BD, dim=1)).sum(dim=1)
    return torch.where(present_B, losses_B, 0.0).sum() / present_B.sum().clamp(min=1)


def _log_softmax(scores_BC: Tensor, inside_BC: Tensor) -> Tensor:
    low = torch.finfo(scores_BC.dtype).min / 4  # a row of -inf would have NaN gradients
    return torch.where(inside_BC, scores_BC, low).log_softmax(dim=1)
