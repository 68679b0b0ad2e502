"""Rows of a table, looked up many times in one step, whose gradients are added up once.

Each ordinary lookup hands back a dense gradient of the whole table: with a million items and a few lookups per step
most of the step's time goes into writing zeros and adding them. Here the lookups of a `gathered` table leave their
gradients aside, and the table's own is made from all of them together.

Legend: N rows of the table, D dims.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_MARK = "_kdspark_gathered"


_Parts = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Gathered:
    """What a gathered tensor is part of.

    Attributes:
        parts: what was looked up in this step, and the gradients of it, [any] and [any, D] each.
        table_ND: the table whose first columns it is; None where it is the table.
    """

    parts: _Parts
    table_ND: Tensor | None = None


def gathered(table_ND: Tensor) -> Tensor:
    """The same table, of which `rows_of` is cheap to differentiate; anything else may be done with it as well.

    For one step: its values must not change before the backward pass, and that runs once.
    """
    if not (table_ND.requires_grad and torch.is_grad_enabled()):
        return table_ND
    parts: _Parts = []
    marked_ND: Tensor = _Collect.apply(table_ND, parts)  # type: ignore[no-untyped-call]
    setattr(marked_ND, _MARK, _Gathered(parts))
    return marked_ND


def first_columns(table_ND: Tensor, columns: int) -> Tensor:
    """table_ND[:, :columns], gathered with the table."""
    part_ND = table_ND[:, :columns]
    found: _Gathered | None = getattr(table_ND, _MARK, None)
    if found is not None:
        setattr(part_ND, _MARK, _Gathered(found.parts, table_ND))
    return part_ND


def rows_of(table_ND: Tensor, rows: Tensor) -> Tensor:
    """table_ND[rows], of any shape [..., D]."""
    found: _Gathered | None = getattr(table_ND, _MARK, None)
    if found is None or not torch.is_grad_enabled():
        return F.embedding(rows, table_ND)  # its gradient is quicker than that of an index
    if found.table_ND is None:
        return _looked_up(table_ND, rows, found.parts)
    return _looked_up(found.table_ND, rows, found.parts)[..., : table_ND.shape[1]]


def _looked_up(table_ND: Tensor, rows: Tensor, parts: _Parts) -> Tensor:
    out: Tensor = _Rows.apply(table_ND, rows, parts)  # type: ignore[no-untyped-call]
    return out


class _Collect(torch.autograd.Function):
    """The table itself; backward, the sum of what came back directly and by rows.

    Autograd runs this after every `_Rows` of the table, because they are its successors, though they hand it nothing.
    """

    @staticmethod
    def forward(ctx: Any, table_ND: Tensor, parts: _Parts) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.parts, ctx.rows = parts, len(table_ND)
        return table_ND.view_as(table_ND)

    @staticmethod
    def backward(ctx: Any, grad_ND: Tensor | None) -> tuple[Tensor | None, None]:  # type: ignore[override]
        parts = ctx.parts
        if not parts:
            return grad_ND, None
        rows, grads = (torch.cat(column) for column in zip(*parts, strict=True))
        parts.clear()
        sum_ND = torch.ops.aten.embedding_dense_backward(grads, rows, ctx.rows, -1, False)
        return sum_ND if grad_ND is None else sum_ND.add_(grad_ND), None


class _Rows(torch.autograd.Function):
    """A lookup whose gradient is left for `_Collect`."""

    @staticmethod
    def forward(ctx: Any, table_ND: Tensor, rows: Tensor, parts: _Parts) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(rows)
        ctx.parts = parts
        return F.embedding(rows, table_ND)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[None, None, None]:  # type: ignore[override]
        if grad is not None:
            (rows,) = ctx.saved_tensors
            ctx.parts.append((rows.reshape(-1), grad.reshape(-1, grad.shape[-1])))
        return None, None, None
