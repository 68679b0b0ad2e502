"""Causal encoders of a left-aligned history: recurrent networks and convolutions.

Each maps item vectors [B, W, D] (zero at PAD, padding on the right) to one vector after every item [B, W, D].

Legend: B users, W window, D dims, H hidden, K kernel, R bottleneck.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from kdspark.models.dropout import Dropout


class Recurrent(nn.Module):
    """GRU or LSTM, then a linear map back to D where the hidden size differs.

    Args:
        cell: nn.GRU or nn.LSTM.
        dim, hidden: D and H.
        layers: stacked cells, with dropout between them.
    """

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], dim: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.cell = cell(dim, hidden, num_layers=layers, batch_first=True, dropout=between)
        self.input_dropout = Dropout(dropout)
        self.out = nn.Linear(hidden, dim) if hidden != dim else nn.Identity()

    def forward(self, inputs_BWD: Tensor) -> Tensor:
        """[B, W, D]."""
        states_BWH, _ = self.cell(self.input_dropout(inputs_BWD))
        out: Tensor = self.out(states_BWH)
        return out


class Convolutional(nn.Module):
    """Residual blocks of depthwise-separable causal convolutions, dilation doubling from block to block."""

    def __init__(self, dim: int, bottleneck: int, kernel: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.input_dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(ConvBlock(dim, bottleneck, kernel, 2**layer, dropout) for layer in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, inputs_BWD: Tensor) -> Tensor:
        """[B, W, D]."""
        x_BWD = self.input_dropout(inputs_BWD)
        for block in self.blocks:
            x_BWD = block(x_BWD)
        out: Tensor = self.norm(x_BWD)
        return out


class ConvBlock(nn.Module):
    """Norm, pointwise D -> R, depthwise causal convolution, GELU, pointwise R -> D, dropout; added to its input."""

    def __init__(self, dim: int, bottleneck: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.down = nn.Linear(dim, bottleneck)
        self.depthwise = nn.Conv1d(bottleneck, bottleneck, kernel, dilation=dilation, groups=bottleneck)
        self.up = nn.Linear(bottleneck, dim)
        self.dropout = Dropout(dropout)
        self.reach = (kernel - 1) * dilation

    def forward(self, x_BWD: Tensor) -> Tensor:
        """[B, W, D]."""
        narrow_BRW = self.down(self.norm(x_BWD)).transpose(1, 2)
        mixed_BRW = self.depthwise(F.pad(narrow_BRW, (self.reach, 0)))  # padded on the left only: causal
        out: Tensor = x_BWD + self.dropout(self.up(F.gelu(mixed_BRW).transpose(1, 2)))
        return out
