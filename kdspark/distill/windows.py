"""Histories cut into windows, for objectives that learn from every position.

Legend: B rows, L history length, X windows, W inputs of a window, V = W + 1.
"""

import torch
from torch import Tensor

from kdspark.models.history import align_left
from kdspark.tables import PAD


def cut_windows(history_BL: Tensor, known_items: int, window: int) -> tuple[Tensor, Tensor]:
    """Histories as windows of `window` + 1 items, neighbours sharing one item, padded on the left.

    Returns:
        Windows [X, window + 1] with at least two items each, and the row each came from [X].
    """
    items_BL, lengths_B = align_left(history_BL, known_items, max(1, history_BL.shape[1]))
    most = int(lengths_B.max()) if len(lengths_B) else 0
    per_row = max(1, -(-(most - 1) // window))
    last_BX = lengths_B[:, None] - 1 - window * torch.arange(per_row, device=history_BL.device)
    columns_BXV = last_BX[:, :, None] + torch.arange(-window, 1, device=history_BL.device)
    source_BXL = items_BL[:, None, :].expand(-1, per_row, -1)
    windows_BXV = source_BXL.gather(2, columns_BXV.clamp(min=0, max=items_BL.shape[1] - 1))
    windows_BXV = torch.where(columns_BXV >= 0, windows_BXV, PAD)
    usable_BX = last_BX >= 1
    rows_BX = torch.arange(len(history_BL), device=history_BL.device)[:, None].expand(-1, per_row)
    return windows_BXV[usable_BX], rows_BX[usable_BX]


def seen_before(inputs_XW: Tensor) -> Tensor:
    """int64 [X, W, W]: the items among a window's inputs up to and including each position, PAD for later ones."""
    width = inputs_XW.shape[1]
    until_WW = torch.ones(width, width, dtype=torch.bool, device=inputs_XW.device).tril()
    return torch.where(until_WW, inputs_XW[:, None, :], PAD)
