"""Losses on scores: cross-entropy with hard and soft targets, sampled softmax, and KL divergence.

Soft cross-entropy is not KL: it is larger by the teacher's entropy, so it is not zero when student and teacher agree.

Legend: B rows, T targets, C classes (candidates or the catalogue), N items, S sampled items.
"""

import math

import torch
from torch import Tensor

from kdspark.models.history import sampled_mask
from kdspark.tables import PAD


def row_mean(values_BT: Tensor, present_BT: Tensor) -> Tensor:
    """Mean over each row's present entries, then over the rows that have any; 0 (with a gradient) if none has."""
    present = present_BT.to(values_BT.dtype)
    counts_B = present.sum(dim=1)
    rows_B = torch.where(present_BT, values_BT, 0.0).sum(dim=1) / counts_B.clamp(min=1)
    return rows_B.sum() / (counts_B > 0).sum().clamp(min=1)


def hard_cross_entropy(scores_BN: Tensor, targets_BT: Tensor, smoothing: float = 0.0) -> Tensor:
    """Full softmax cross-entropy, -log softmax(scores)[target], in nats; the mean over targets, then rows.

    Args:
        scores_BN: scores of the catalogue; -inf leaves an item out of the softmax.
        targets_BT: item_idx, PAD where a row has fewer targets.
        smoothing: share of the target spread evenly over the items that are not left out.
    """
    present_BT = targets_BT != PAD
    log_sum_B1 = scores_BN.logsumexp(dim=1, keepdim=True)
    losses_BT = log_sum_B1 - scores_BN.gather(1, targets_BT.clamp(min=0))
    if smoothing:
        inside_BN = torch.isfinite(scores_BN)
        mean_B1 = torch.where(inside_BN, scores_BN, 0.0).sum(1, keepdim=True) / inside_BN.sum(1, keepdim=True)
        losses_BT = (1 - smoothing) * losses_BT + smoothing * (log_sum_B1 - mean_B1)
    return row_mean(losses_BT, present_BT)


def normalised_cross_entropy(log_sum_B1: Tensor, target_scores_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Cross-entropy log Z - score of the target, in nats; the mean over targets, then rows.

    Args:
        log_sum_B1: log Z, the log of the sum of exp(score) over all classes (see `catalogue_log_sum`).
        target_scores_BT, targets_BT: scores and item_idx of the targets, PAD where missing.
    """
    return row_mean(log_sum_B1 - target_scores_BT, targets_BT != PAD)


def sampled_cross_entropy(
    target_scores_BT: Tensor, targets_BT: Tensor, scores_BS: Tensor, sampled_S: Tensor, n_items: int
) -> Tensor:
    """Cross-entropy against S distinct, uniformly drawn items, the log of the sampling rate taken off their scores.

    A row's targets are summed exactly and left out of the draw: sum exp(targets) + sum exp(sampled - log(S / N))
    estimates the full softmax's sum without bias (logQ correction, Bengio & Senecal, 2008), and is the same for all
    of its targets, so that many of them cost no more than their scores.

    Args:
        target_scores_BT, targets_BT: scores and item_idx of the targets, PAD where missing; one that is named twice
            counts twice in the mean and once in the sum.
        scores_BS: scores of the sampled items.
        sampled_S: their item_idx, shared by the batch.
        n_items: N, size of the catalogue drawn from.
    """
    hits_BS = sampled_mask(sampled_S, targets_BT, n_items)
    corrected_BS = (scores_BS - math.log(len(sampled_S) / n_items)).masked_fill(hits_BS, -torch.inf)
    own_BT = target_scores_BT.masked_fill(~_first_named(targets_BT), -torch.inf)
    log_sum_B1 = torch.cat([own_BT, corrected_BS], dim=1).logsumexp(dim=1, keepdim=True)
    return normalised_cross_entropy(log_sum_B1, target_scores_BT, targets_BT)


def _first_named(items_BT: Tensor) -> Tensor:
    """bool [B, T]: present, and not in an earlier column of the row."""
    sorted_BT, columns_BT = items_BT.sort(dim=1, stable=True)
    first_BT = sorted_BT != PAD
    first_BT[:, 1:] &= sorted_BT[:, 1:] != sorted_BT[:, :-1]
    return torch.zeros_like(first_BT).scatter_(1, columns_BT, first_BT)


def soft_cross_entropy(targets_BC: Tensor, scores_BC: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """-sum p log softmax(scores), in nats, the mean over rows with a target.

    The cross-entropy with soft targets of Hinton et al. (2015), their two temperatures already applied.

    Args:
        targets_BC: probabilities; a row of zeros has no target and does not count.
        scores_BC: -inf leaves a class out; its probability must be 0.
        weights_B: factors of the rows before the mean; None for 1.
    """
    log_q_BC = scores_BC - scores_BC.logsumexp(dim=1, keepdim=True)
    return mean_of_rows(-_times_log(targets_BC, log_q_BC).sum(dim=1), targets_BC, weights_B)


def entropy(targets_BC: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """-sum p log p, in nats, the mean over rows with a target: what separates soft cross-entropy from KL."""
    log_p_BC = targets_BC.clamp(min=torch.finfo(targets_BC.dtype).tiny).log()
    return mean_of_rows(-_times_log(targets_BC, log_p_BC).sum(dim=1), targets_BC, weights_B)


def kl_divergence(targets_BC: Tensor, scores_BC: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """KL(p || softmax(scores)), in nats, the mean over rows with a target; zero where both agree.

    With p = softmax(teacher / T) and scores = student / T it is the soft part of Hinton et al. (2015). The factor T^2
    that keeps its gradient's size independent of T is NOT applied here; the objective applies it.

    Args:
        targets_BC: probabilities; a row of zeros has no target and does not count.
        scores_BC: -inf leaves a class out; its probability must be 0.
        weights_B: factors of the rows before the mean; None for 1.
    """
    return soft_cross_entropy(targets_BC, scores_BC, weights_B) - entropy(targets_BC, weights_B)


def mean_of_rows(values_B: Tensor, targets_BC: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """The mean over rows with a target, each times its weight; 0 (with a gradient) if none has one."""
    has_target_B = (targets_BC > 0).any(dim=1)
    weighted_B = values_B if weights_B is None else values_B * weights_B
    return torch.where(has_target_B, weighted_B, 0.0).sum() / has_target_B.sum().clamp(min=1)


def _times_log(p_BC: Tensor, log_BC: Tensor) -> Tensor:
    return p_BC * torch.where(p_BC > 0, log_BC, 0.0)
