"""Weighted draws of columns, by torch's global generator.

Legend: B rows, C columns, S drawn columns.
"""

import torch
from torch import Tensor

from kdspark.tables import PAD


def gumbel_like(x: Tensor) -> Tensor:
    """Standard Gumbel noise of the same shape; always finite."""
    exponential = torch.empty_like(x, requires_grad=False).exponential_()
    return -exponential.clamp(min=torch.finfo(x.dtype).tiny).log()


def draw_columns(log_weights_BC: Tensor, size: int) -> Tensor:
    """Up to `size` distinct columns per row, drawn one after the other with probability proportional to exp(weight).

    The largest of log-weights plus Gumbel noise are such a draw (Kool et al., 2019).

    Args:
        log_weights_BC: -inf leaves a column out.

    Returns:
        int64 [B, min(size, C)] columns in the order drawn; PAD where a row has fewer to draw from.
    """
    keys_BC = log_weights_BC + gumbel_like(log_weights_BC)
    best_BS = keys_BC.topk(min(size, keys_BC.shape[1]), dim=1)
    return torch.where(torch.isfinite(best_BS.values), best_BS.indices, PAD)


def in_order(columns_BS: Tensor) -> Tensor:
    """The drawn columns from left to right, PAD last."""
    last = torch.iinfo(columns_BS.dtype).max
    sorted_BS = torch.where(columns_BS == PAD, last, columns_BS).sort(dim=1).values
    return torch.where(sorted_BS == last, PAD, sorted_BS)


def rank_log_weights(present_BC: Tensor, decay: float) -> Tensor:
    """log of exp(-rank / decay), the rank being the column, from 0; -inf where nothing is present."""
    ranks = torch.arange(present_BC.shape[1], device=present_BC.device, dtype=torch.float32)
    return torch.where(present_BC, -ranks / decay, -torch.inf)


def take(values_BC: Tensor, columns_BS: Tensor) -> Tensor:
    """Values [B, S] of the drawn columns; that of column 0 where the column is PAD."""
    return values_BC.gather(1, columns_BS.clamp(min=0))
