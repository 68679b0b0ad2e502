"""Causal self-attention over a left-aligned history (SASRec, Kang & McAuley, ICDM'18; pre-norm).

Legend: B users, W window, D dims, H heads, E dims per head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdspark.errors import ConfigError
from kdspark.models.dropout import Dropout


class Attentive(nn.Module):
    """Learned positions, counted from the oldest item of the window, then blocks of attention and feed-forward.

    Raises:
        ConfigError: `dim` is not a multiple of `heads`.
    """

    def __init__(self, dim: int, window: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"`dim` {dim} is not a multiple of `heads` {heads}.", "Change one of them.")
        self.positions = nn.Parameter(torch.randn(window, dim) * (dim**-0.5 / 4))
        self.scale = dim**0.5
        self.input_dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(AttentionBlock(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, inputs_BWD: Tensor) -> Tensor:
        """[B, W, D]."""
        positions_WD = self.positions[: inputs_BWD.shape[1]]
        x_BWD = self.input_dropout((inputs_BWD + positions_WD) * self.scale)
        for block in self.blocks:
            x_BWD = block(x_BWD)
        out: Tensor = self.norm(x_BWD)
        return out


class AttentionBlock(nn.Module):
    """Pre-norm multi-head causal attention and a feed-forward layer of width 4 D, each added to its input."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.forward_net = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = Dropout(dropout)

    def forward(self, x_BWD: Tensor) -> Tensor:
        """[B, W, D]."""
        x_BWD = x_BWD + self.dropout(self.out(self._attend(self.norm_attention(x_BWD))))
        out: Tensor = x_BWD + self.dropout(self.forward_net(self.norm_forward(x_BWD)))
        return out

    def _attend(self, x_BWD: Tensor) -> Tensor:
        batch, width, dim = x_BWD.shape
        qkv = self.qkv(x_BWD).view(batch, width, 3, self.heads, dim // self.heads)
        q_BHWE, k_BHWE, v_BHWE = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q_BHWE, k_BHWE, v_BHWE, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, width, dim)
