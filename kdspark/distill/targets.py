"""Soft targets: the teacher's candidates and logits -> probabilities over the candidates.

Raw scores differ wildly between users; ranks do not, which is why they teach better on most logs.

Legend: B rows, C candidates (the teacher's top-K in order, then a sampled tail), K.
"""

import torch
from torch import Tensor

from kdspark.config import DistillConfig
from kdspark.tables import PAD


def soft_targets(
    config: DistillConfig,
    candidates_BC: Tensor,
    logits_BC: Tensor,
    top_k: int,
    temperature: float | Tensor | None = None,
) -> Tensor:
    """Probabilities [B, C] as the configuration says; PAD candidates get 0, a row of PAD sums to 0.

    Args:
        temperature: that of the step, or of each row [B, 1], where a schedule moves it; None for the configured one.
    """
    if config.targets == "rank":
        return rank_targets(candidates_BC, top_k, config.rank_decay)
    if config.targets == "power":
        return power_targets(candidates_BC, top_k, config.rank_shift)
    if temperature is None:
        temperature = config.temperature
    return score_targets(candidates_BC, logits_BC, temperature, config.standardise)


def score_targets(
    candidates_BC: Tensor, logits_BC: Tensor, temperature: float | Tensor = 1.0, standardise: bool = False
) -> Tensor:
    """softmax(logits / T) over the candidates.

    Args:
        standardise: subtract the row's mean and divide by its standard deviation first.
    """
    present_BC = candidates_BC != PAD
    if standardise:
        logits_BC = standardised(logits_BC, present_BC)
    masked_BC = torch.where(present_BC, logits_BC / temperature, -torch.inf)
    return masked_BC.softmax(dim=1).nan_to_num(0.0)  # a row of PAD only is 0/0


def standardised(logits_BC: Tensor, present_BC: Tensor) -> Tensor:
    """z-scores over each row's present entries; 0 where a row has no spread, and for what is not present."""
    return torch.where(present_BC, standardised_like(logits_BC, logits_BC, present_BC), 0.0)


def standardised_like(scores_BR: Tensor, logits_BC: Tensor, present_BC: Tensor) -> Tensor:
    """Scores [B, R] of other items on the scale of the row's z-scores: by the mean and deviation of its logits."""
    counts_B1 = present_BC.sum(dim=1, keepdim=True).clamp(min=1)
    present = present_BC.to(logits_BC.dtype)
    mean_B1 = (logits_BC * present).sum(dim=1, keepdim=True) / counts_B1
    centred_BC = (logits_BC - mean_B1) * present
    deviation_B1 = (centred_BC.square().sum(dim=1, keepdim=True) / counts_B1).sqrt()
    return torch.where(deviation_B1 > 1e-9, (scores_BR - mean_B1) / deviation_B1.clamp(min=1e-9), 0.0)


def rank_targets(candidates_BC: Tensor, top_k: int, decay: float) -> Tensor:
    """p proportional to exp(-rank / decay), rank 0 for the teacher's best; zero beyond the first `top_k` columns.

    Items of the tail have probability 0: they teach by being pushed down.
    """
    return _targets_of_ranks(candidates_BC, top_k, torch.exp(-_ranks(candidates_BC) / decay))


def power_targets(candidates_BC: Tensor, top_k: int, shift: float) -> Tensor:
    """p proportional to 1 / (rank + shift), rank 0 for the teacher's best; zero beyond the first `top_k` columns.

    It falls more slowly than an exponential of the ranks: for long tops.
    """
    return _targets_of_ranks(candidates_BC, top_k, 1 / (_ranks(candidates_BC) + shift))


def _ranks(candidates_BC: Tensor) -> Tensor:
    return torch.arange(candidates_BC.shape[1], device=candidates_BC.device, dtype=torch.float32)


def _targets_of_ranks(candidates_BC: Tensor, top_k: int, weights_C: Tensor) -> Tensor:
    weights_C = torch.where(_ranks(candidates_BC) < top_k, weights_C, 0.0)
    weights_BC = weights_C * (candidates_BC != PAD)
    return weights_BC / weights_BC.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
