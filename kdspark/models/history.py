"""Histories as encoders want them: known items only, the latest few, aligned on the left.

With the padding on the right, a causal encoder needs no padding mask: no position ever sees what comes after it.

Legend: B users, L history length, W window (items kept), N items, S chosen items, D dims.
"""

import torch
from torch import Tensor

from kdspark.models.gather import rows_of
from kdspark.tables import PAD


def align_left(history_BL: Tensor, known_items: int, window: int) -> tuple[Tensor, Tensor]:
    """The latest `window` known items of each history, oldest first, then PAD.

    Args:
        history_BL: item_idx; PAD and items outside 0..known_items-1 are skipped wherever they stand.

    Returns:
        Items [B, W] with W = min(L, window), at least 1, and their number per row [B].
    """
    if history_BL.shape[1] == 0:
        history_BL = history_BL.new_full((len(history_BL), 1), PAD)
    known_BL = (history_BL >= 0) & (history_BL < known_items)
    order = torch.argsort((~known_BL).to(torch.uint8), dim=1, stable=True)
    compact_BL = history_BL.gather(1, order)
    count_B = known_BL.sum(dim=1)
    width = min(history_BL.shape[1], window)
    columns = (count_B - width).clamp(min=0)[:, None] + torch.arange(width, device=history_BL.device)
    items_BW = compact_BL.gather(1, columns)
    lengths_B = count_B.clamp(max=width)
    return torch.where(position_mask(lengths_B, width), items_BW, PAD), lengths_B


def has_known_item(history_BL: Tensor, known_items: int) -> Tensor:
    """bool [B]: whether the history names an item that the model can encode."""
    return ((history_BL >= 0) & (history_BL < known_items)).any(dim=1)


def position_mask(lengths_B: Tensor, width: int) -> Tensor:
    """bool [B, width]: the first `lengths_B` columns."""
    return torch.arange(width, device=lengths_B.device)[None, :] < lengths_B[:, None]


def lookup(items_ND: Tensor, items_BW: Tensor) -> Tensor:
    """Item vectors [B, W, D]; zero at PAD."""
    vectors_BWD = rows_of(items_ND, items_BW.clamp(min=0))
    return vectors_BWD * (items_BW != PAD).unsqueeze(-1)


def at_last(positions_BWD: Tensor, lengths_B: Tensor) -> Tensor:
    """The vector at each row's last item [B, D]; zero for an empty row."""
    last_B = (lengths_B - 1).clamp(min=0)
    last_BD = positions_BWD.gather(1, last_B[:, None, None].expand(-1, 1, positions_BWD.shape[2])).squeeze(1)
    return last_BD * (lengths_B > 0).unsqueeze(1)


def align_right(positions_BWD: Tensor, history_BL: Tensor, known_items: int) -> Tensor:
    """Vectors of left-aligned positions moved back to the columns their items have in the last W of the history."""
    width = positions_BWD.shape[1]
    if history_BL.shape[1] == 0:
        return torch.zeros_like(positions_BWD)
    known_BL = (history_BL >= 0) & (history_BL < known_items)
    skipped_B = (known_BL.sum(dim=1) - width).clamp(min=0)
    index_BL = known_BL.cumsum(dim=1) - 1 - skipped_B[:, None]
    index_BW, known_BW = index_BL[:, -width:].clamp(min=0), known_BL[:, -width:]
    moved = positions_BWD.gather(1, index_BW.unsqueeze(-1).expand(-1, -1, positions_BWD.shape[2]))
    return moved * known_BW.unsqueeze(-1)


def drop_items(items_BW: Tensor, lengths_B: Tensor, rate: float, training: bool) -> Tensor:
    """Input dropout: in training, each item but the last becomes PAD with probability `rate`."""
    if not training or rate == 0:
        return items_BW
    dropped = torch.rand(items_BW.shape, device=items_BW.device) < rate
    last = torch.arange(items_BW.shape[1], device=items_BW.device)[None, :] == lengths_B[:, None] - 1
    return torch.where(dropped & ~last, PAD, items_BW)


def sampled_mask(sampled_S: Tensor, items_BL: Tensor, n_items: int) -> Tensor:
    """bool [B, S]: which of the distinct items chosen for the whole batch are among a row's items."""
    size = len(sampled_S)
    column_N = torch.full((n_items + 1,), size, dtype=torch.int64, device=sampled_S.device)  # last row: PAD and unknown
    column_N[sampled_S] = torch.arange(size, device=sampled_S.device)
    columns_BL = column_N[torch.where((items_BL >= 0) & (items_BL < n_items), items_BL, n_items)]
    mask = torch.zeros(len(items_BL), size + 1, dtype=torch.bool, device=sampled_S.device)
    return mask.scatter_(1, columns_BL, True)[:, :size]
