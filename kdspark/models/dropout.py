"""Dropout that costs little on a CPU: one 64-bit random word serves eight elements.

torch draws a number per element, which on a CPU takes longer than the matrix products of a small model.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 256


class Dropout(nn.Module):
    """Zeroes elements with probability `rate`, rounded to 1/256 on a CPU, and scales the rest up to keep the mean."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; the input itself in evaluation mode."""
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        threshold = min(round(self.rate * _LEVELS), _LEVELS - 1)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
        return x * kept * (_LEVELS / (_LEVELS - threshold))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
