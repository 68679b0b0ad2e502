"""Weights in about a quarter of their bytes: int8 rows with one float32 scale each.

Symmetric uniform quantisation by rows, the usual one for embedding tables (Guan et al., "Post-training 4-bit
quantization on embedding tables", 2019, with 8 bits instead). A row's scale serves all of its entries, so one large
entry makes the others coarse: columns that are much larger than the rest, such as an item bias beside the dimensions
of its vector, stay apart in float32.

Legend: R rows, D columns, C columns apart.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from kdspark.errors import ModelError

_LEVELS = 127
_LEAST_ENTRIES, _LEAST_COLUMNS = 4096, 3  # below, there is nothing to save
_APART = 2.0
"""How many times the median column's length sets a column apart. In trained students of 8 to 64 dimensions the longest
dimension had 1.2 times the median's, the bias 3 to 10 times. Up to 2 it raises the error of scores by a fifth at most,
at 3 by up to a half, at 10 fourfold."""
_SCALE, _COLUMNS, _VALUES = ":scale", ":columns", ":apart"  # no weight of a torch module is called so


def quantise_rows(weights_RD: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes [R, D] and float32 scales [R]: scale = max |row| / 127, code = the nearest integer to weight / scale.

    Each entry is off by at most half its row's scale; a row of zeros stays one.

    Args:
        weights_RD: float32.

    Raises:
        ModelError: a weight is not finite.
    """
    if not bool(torch.isfinite(weights_RD).all()):
        raise ModelError("The model has weights that are not finite.", "Train it again with a lower rate.")
    largest_R = weights_RD.abs().amax(dim=1) if weights_RD.shape[1] else weights_RD.new_zeros(len(weights_RD))
    # A scale below the smallest normal number would be too coarse to divide by.
    scale_R = (largest_R / _LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    codes_RD = (weights_RD / scale_R[:, None]).round_().clamp_(-_LEVELS, _LEVELS)
    return codes_RD.to(torch.int8), scale_R


def dequantise_rows(codes_RD: Tensor, scale_R: Tensor) -> Tensor:
    """float32 [R, D]: code times scale, finite whatever the rounding of the scale."""
    largest = torch.finfo(torch.float32).max
    return (codes_RD.to(torch.float32) * scale_R[:, None]).clamp_(-largest, largest)


def outlying_columns(weights_RD: Tensor) -> Tensor:
    """int64 [C], ascending: columns longer than `_APART` times the median column's length; less than half of them."""
    length_D = torch.linalg.vector_norm(weights_RD, dim=0)
    return torch.nonzero(length_D > _APART * length_D.median()).flatten()


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with every float32 matrix that is worth it in int8, beside its scales and columns apart.

    Raises:
        ModelError: a weight of such a matrix is not finite.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        packed |= _packed(name, tensor) if _worth_it(tensor) else {name: tensor}
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, in float32; tensors that it left as they were are the same.

    Raises:
        ModelError: the parts of a matrix do not fit together.
    """
    parts = {name + suffix for name in tensors for suffix in (_SCALE, _COLUMNS, _VALUES) if name + _SCALE in tensors}
    return {
        name: _unpacked(name, tensors) if name + _SCALE in tensors else tensor
        for name, tensor in tensors.items()
        if name not in parts
    }


def _worth_it(tensor: Tensor) -> bool:
    matrix = tensor.dtype == torch.float32 and tensor.dim() == 2
    return matrix and tensor.numel() >= _LEAST_ENTRIES and tensor.shape[1] >= _LEAST_COLUMNS


def _packed(name: str, weights_RD: Tensor) -> dict[str, Tensor]:
    columns_C = outlying_columns(weights_RD)
    codes, scale_R = quantise_rows(weights_RD[:, _others(columns_C, weights_RD.shape[1])])
    parts = {name: codes, name + _SCALE: scale_R}
    return parts | ({name + _COLUMNS: columns_C, name + _VALUES: weights_RD[:, columns_C]} if len(columns_C) else {})


def _unpacked(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    try:
        rest = dequantise_rows(tensors[name], tensors[name + _SCALE])
        if name + _COLUMNS not in tensors:
            return rest
        columns_C, values_RC = tensors[name + _COLUMNS], tensors[name + _VALUES]
        out_RD = torch.empty(len(rest), rest.shape[1] + len(columns_C))
        out_RD[:, _others(columns_C, out_RD.shape[1])] = rest
        out_RD[:, columns_C] = values_RC
    except (KeyError, IndexError, RuntimeError) as error:
        raise ModelError(f"The int8 weights of {name} are damaged: {error}.", "Train the model again.") from error
    return out_RD


def _others(columns_C: Tensor, width: int) -> Tensor:
    """bool [D]: the columns that are not apart."""
    others_D = torch.ones(width, dtype=torch.bool, device=columns_C.device)
    others_D[columns_C] = False
    return others_D
