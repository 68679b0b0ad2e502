"""What the members of an ensemble think of a user: each one's best items, read off a bounded part of the catalogue.

Legend: B users, M members, N items, C shortlisted items, K list length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdspark.tables import PAD


@dataclass(frozen=True)
class Opinions:
    """A batch of users, as the members see them.

    Args:
        items_BMK: each member's best items, best first; PAD where it likes fewer.
        leads_BMK: by how many standard deviations of the member's scores they are above its mean; 0 for PAD.
        known_BM: whether the member knows anything of the user.
        history_B: number of known items in the user's history.
    """

    items_BMK: Tensor
    leads_BMK: Tensor
    known_BM: Tensor
    history_B: Tensor

    @classmethod
    def of(cls, tops: Sequence[tuple[Tensor, Tensor]], known: Sequence[Tensor], history_B: Tensor) -> "Opinions":
        """From `top_of` and `encodable` of every member."""
        items, leads = zip(*tops, strict=True)
        return cls(torch.stack(items, dim=1), torch.stack(leads, dim=1), torch.stack(tuple(known), dim=1), history_B)


def shortlist(n_events_N: Tensor, allowed_N: Tensor, size: int) -> Tensor:
    """The `size` allowed items with most events, or all there are, in ascending order [C]; of equals the first."""
    order_N = torch.sort(torch.where(allowed_N, n_events_N, -1), descending=True, stable=True).indices
    return order_N[: min(size, int(allowed_N.sum()))].sort().values


def top_of(z_BC: Tensor, seen_BC: Tensor, shortlist_C: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """A member's best items [B, K] and their leads [B, K], K = min(size, C).

    What it scores no better than its mean it has no opinion of: an item-item model has one score, zero, for most of the
    catalogue, and the order of these says nothing.

    Args:
        z_BC: scores divided by their standard deviation.
        seen_BC: items of the history, which are no news.
        shortlist_C: item_idx of the columns.
    """
    leads_BC = z_BC - z_BC.mean(dim=1, keepdim=True)
    leads_BK, columns_BK = leads_BC.masked_fill_(seen_BC, 0.0).topk(min(size, z_BC.shape[1]), dim=1)
    liked_BK = leads_BK > 0
    return torch.where(liked_BK, shortlist_C[columns_BK], PAD), torch.where(liked_BK, leads_BK, 0.0)
