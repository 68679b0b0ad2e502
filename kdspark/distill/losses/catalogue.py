"""The log-normaliser of a softmax over the whole catalogue, in one buffer.

A softmax over a catalogue is most of a student's training: written with ordinary operations it reads and writes B x N
floats some fifteen times a step. A cross-entropy needs of it only log Z, and log Z - s for a few items, so that one
buffer serves the scores, their exponentials and the gradient.

Legend: B rows, N items, D dims, L items left out, C items kept.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def catalogue_log_sum(
    users_BD: Tensor,
    items_ND: Tensor,
    left_out_BL: Tensor | None = None,
    kept: Sequence[Tensor] = (),
    temperature: float = 1.0,
) -> Tensor:
    """log of the sum over the catalogue of exp(users @ items / T), [B, 1], float32 (or float64), with its gradient.

    The gradient is taken once: it is written over what a second one would need, and torch says so if asked again.

    Args:
        left_out_BL: item_idx that do not count in their row; what lies outside 0..N-1, such as PAD, is ignored.
        kept: item_idx, each [B, C], that count all the same; PAD is ignored.
    """
    nowhere = torch.empty(2, 0, dtype=torch.int64, device=items_ND.device)
    out_2X = nowhere if left_out_BL is None else _places(left_out_BL, len(items_ND))
    kept_2X = torch.cat([nowhere, *(_places(items_BC, len(items_ND)) for items_BC in kept)], dim=1)
    log_sum_B1: Tensor = _LogSum.apply(users_BD, items_ND, out_2X, kept_2X, temperature)  # type: ignore[no-untyped-call]
    return log_sum_B1


def _places(items_BL: Tensor, n_items: int) -> Tensor:
    """Rows and items, [2, X], of the entries that name an item."""
    rows_X, columns_X = ((items_BL >= 0) & (items_BL < n_items)).nonzero(as_tuple=True)
    return torch.stack([rows_X, items_BL[rows_X, columns_X]])


class _LogSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, users_BD: Tensor, items_ND: Tensor, out_2X: Tensor, kept_2X: Tensor, temperature: float
    ) -> Tensor:
        weights_BN = users_BD @ items_ND.T
        weights_BN = weights_BN.float() if weights_BN.dtype in (torch.bfloat16, torch.float16) else weights_BN
        if temperature != 1:
            weights_BN.div_(temperature)
        kept_X = weights_BN[kept_2X[0], kept_2X[1]]
        weights_BN[out_2X[0], out_2X[1]] = -torch.inf
        weights_BN[kept_2X[0], kept_2X[1]] = kept_X
        highest_B1 = weights_BN.amax(dim=1, keepdim=True)
        sum_B1 = weights_BN.sub_(highest_B1).exp_().sum(dim=1, keepdim=True)
        ctx.save_for_backward(users_BD, items_ND, weights_BN, sum_B1)
        ctx.temperature = temperature
        return highest_B1 + sum_B1.log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:  # type: ignore[override]
        users_BD, items_ND, weights_BN, sum_B1 = ctx.saved_tensors
        weights_BN.mul_(gradients[0] / (sum_B1 * ctx.temperature))
        by_user_BD = (weights_BN @ items_ND.to(weights_BN.dtype)).to(users_BD.dtype)
        by_item_ND = (weights_BN.T @ users_BD.to(weights_BN.dtype)).to(items_ND.dtype)
        return by_user_BD, by_item_ND, None, None, None
