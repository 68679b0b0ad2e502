"""Scores of some items, and which items take part.

Legend: B rows, L history length, C candidates, S sampled items, N items, D dims.
"""

import torch
from torch import Tensor

from kdspark.models.gather import rows_of

_SPARSE = 50
"""How many times fewer items than there are count as few."""


def scores_of(users_BD: Tensor, items_ND: Tensor, items_BC: Tensor, scores_BN: Tensor | None) -> Tensor:
    """Scores [B, C] of each row's own items, from the full scores where there are any; PAD scores as item 0."""
    if scores_BN is not None:
        return scores_BN.gather(1, items_BC.clamp(min=0))
    own_BCD = rows_of(items_ND, items_BC.clamp(min=0))
    return torch.einsum("bd,bcd->bc", users_BD, own_BCD).float()


def sample_items(n_items: int, size: int, device: torch.device) -> Tensor:
    """Distinct items, uniformly drawn by torch's generator, `size` or all there are."""
    if size * _SPARSE > n_items:
        return torch.randperm(n_items, device=device)[:size]
    # Of few among many, twice as many draws with replacement hold enough distinct ones; any subset that does not depend
    # on the items' numbers is uniform, so that which of them stay is left to a permutation.
    drawn_X: Tensor = torch.unique(torch.randint(n_items, (2 * size,), device=device))
    return drawn_X[torch.randperm(len(drawn_X), device=device)[:size]]


def history_mask(history_BL: Tensor, kept: list[Tensor], n_items: int) -> Tensor:
    """bool [B, N]: items of the history that are in none of `kept` (each [B, any])."""
    rows = len(history_BL)
    mask = torch.zeros(rows, n_items + 1, dtype=torch.bool, device=history_BL.device)  # last column: PAD and unknown
    mask.scatter_(1, torch.where((history_BL >= 0) & (history_BL < n_items), history_BL, n_items), True)
    for items in kept:
        mask.scatter_(1, torch.where(items >= 0, items, n_items), False)
    return mask[:, :n_items]
