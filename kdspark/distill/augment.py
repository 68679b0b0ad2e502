"""Augmented histories: crop, mask, reorder, substitute, by torch's global generator.

Histories are left-aligned here, oldest first, PAD behind them; what is dropped becomes PAD where it stood, which every
encoder skips. A history that is not empty never becomes empty.

Legend: B rows, L history length, N items, P pool, D dims.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kdspark.config import ConsistencyConfig
from kdspark.distill.scores import sample_items
from kdspark.models.history import align_left, position_mask
from kdspark.tables import PAD

_ROUNDING = 1e-6  # .1 of 30 items are 3, not 4


def augmented(history_BL: Tensor, config: ConsistencyConfig, items_ND: Tensor, known_items: int) -> Tensor:
    """A view of each history, made by one augmentation of those switched on, drawn per row (CL4SRec, Xie et al., 2022).

    Args:
        history_BL: item_idx, PAD and unknown items anywhere.
        items_ND: the model's item vectors, by which items are similar.
        known_items: items 0..known_items-1 have vectors.

    Returns:
        int64 [B, L], left-aligned.
    """
    items_BL, lengths_B = align_left(history_BL, known_items, max(1, history_BL.shape[1]))
    views = []
    if config.crop < 1:
        views.append(cropped(items_BL, lengths_B, config.crop))
    if config.mask:
        views.append(masked(items_BL, lengths_B, config.mask))
    if config.reorder:
        views.append(reordered(items_BL, lengths_B, config.reorder))
    if config.substitute:
        pool_P = sample_items(known_items, config.pool, items_BL.device)
        views.append(substituted(items_BL, config.substitute, items_ND.detach(), pool_P))
    chosen_B = torch.randint(len(views), (len(items_BL),), device=items_BL.device)
    return torch.stack(views).gather(0, chosen_B[None, :, None].expand(1, -1, items_BL.shape[1]))[0]


def cropped(items_BL: Tensor, lengths_B: Tensor, share: float) -> Tensor:
    """A run of ceil(share * length) items, anywhere in the history."""
    return torch.where(_run(items_BL, lengths_B, share), items_BL, PAD)


def masked(items_BL: Tensor, lengths_B: Tensor, rate: float) -> Tensor:
    """Each item left out with probability `rate`, the latest kept if it would be the last one."""
    width = items_BL.shape[1]
    kept_BL = (torch.rand(items_BL.shape, device=items_BL.device) >= rate) & position_mask(lengths_B, width)
    latest_BL = torch.arange(width, device=items_BL.device) == lengths_B[:, None] - 1
    kept_BL |= latest_BL & ~kept_BL.any(dim=1, keepdim=True)
    return torch.where(kept_BL, items_BL, PAD)


def reordered(items_BL: Tensor, lengths_B: Tensor, share: float) -> Tensor:
    """The items of a run of ceil(share * length) in random order, the others where they were."""
    places_BL = torch.arange(items_BL.shape[1], device=items_BL.device).expand_as(items_BL)
    run_BL = _run(items_BL, lengths_B, share)
    first_B1 = torch.where(run_BL, places_BL, items_BL.shape[1]).amin(dim=1, keepdim=True)
    # sorted by their place, those of the run by random keys between its first place and the next
    random_BL = first_B1 + torch.rand(items_BL.shape, device=items_BL.device) / 2
    return items_BL.gather(1, torch.where(run_BL, random_BL, places_BL).argsort(dim=1, stable=True))


def substituted(items_BL: Tensor, rate: float, items_ND: Tensor, pool_P: Tensor) -> Tensor:
    """Each item replaced, with probability `rate`, by the one of the pool whose vector has the largest cosine with its.

    An item does not stand for itself. CoSeRec (Liu et al., 2021) asks the whole catalogue; a pool costs less.
    """
    replaced_BL = (torch.rand(items_BL.shape, device=items_BL.device) < rate) & (items_BL != PAD)
    old_X = items_BL[replaced_BL]
    cosines_XP = F.normalize(items_ND[old_X], dim=1) @ F.normalize(items_ND[pool_P], dim=1).T
    best_X = pool_P[cosines_XP.masked_fill(old_X[:, None] == pool_P, -torch.inf).argmax(dim=1)]
    return items_BL.masked_scatter(replaced_BL, best_X)


def _run(items_BL: Tensor, lengths_B: Tensor, share: float) -> Tensor:
    """bool [B, L]: ceil(share * length) neighbouring items, from a uniformly drawn start."""
    size_B = torch.ceil(lengths_B * share - _ROUNDING).to(torch.int64)
    start_B = (torch.rand(len(lengths_B), device=lengths_B.device) * (lengths_B - size_B + 1)).to(torch.int64)
    start_B = torch.minimum(start_B, lengths_B - size_B)  # the product may round up to the end
    places_L = torch.arange(items_BL.shape[1], device=items_BL.device)
    return (places_L >= start_B[:, None]) & (places_L < (start_B + size_B)[:, None])
