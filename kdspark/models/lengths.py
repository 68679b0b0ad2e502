"""Users encoded in small batches of fixed shapes, those with short histories apart from those with long ones.

An encoder of sequences computes a vector for every place of a padded history, and most histories of most logs are
shorter than the window. Here each is cut to the next power of two of its own length, and batches are of so many places
that what is computed between two layers stays in a core's cache. A row is therefore encoded in a shape that depends on
its own length alone, and not on who shares the batch.

For attention alone: measured (64 dimensions, window 50, batches of 256 rows, one thread of Zen 4), a Transformer takes
.65 of the time where all histories are full and .4 to .65 where they are mixed. Recurrent networks and convolutions
have little to keep in the cache, and gain by short histories what they lose by small batches.

Legend: B users, L history length, D dims.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from kdspark.models.batch import UserBatch
from kdspark.tables import PAD

_PLACES = 1024
_SHORTEST = 8


def by_length(encode: Callable[[UserBatch], Tensor], batch: UserBatch) -> Tensor:
    """The vectors [B, D] that `encode` gives the users.

    Args:
        encode: users -> vectors; indifferent to padding on the left of a history.
        batch: at least one user.
    """
    lengths_B, longest = _lengths(batch.history), batch.history.shape[1]
    parts, order = [], []
    shorter, width = -1, _SHORTEST
    while shorter < longest:
        width = min(width, longest)
        rows = torch.nonzero((lengths_B > shorter) & (lengths_B <= width)).squeeze(1)
        size = max(1, _PLACES // max(1, width))
        for some in (rows[start : start + size] for start in range(0, len(rows), size)):
            users = batch.take(some)
            cut = replace(users, history=users.history[:, longest - width :]).pad_to(size)
            parts.append(encode(cut)[: len(some)])
            order.append(some)
        shorter, width = width, 2 * width
    vectors_BD = torch.cat(parts)
    return torch.empty_like(vectors_BD).index_copy_(0, torch.cat(order), vectors_BD)


def _lengths(history_BL: Tensor) -> Tensor:
    """Places from the oldest item on [B]."""
    longest = history_BL.shape[1]
    places_L = torch.arange(longest, 0, -1, device=history_BL.device)
    return ((history_BL != PAD) * places_L).amax(dim=1) if longest else history_BL.new_zeros(len(history_BL))
