"""Ensembles: the weighted sum of members' scores, each standardised per user, still as one inner product.

A member's scores for user u over the allowed items have standard deviation s = sqrt(u' C u), C the covariance of its
item vectors over those items; so w * u / s beside the item vectors gives w times its z-scores, up to a constant per
user that changes no ranking. An ensemble with a member that is no inner product sums the z-scores themselves.

Legend: B users, N items, D dims (all members'), M dims of one member.
"""

from typing import Any

import torch
from torch import Tensor, nn

from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.recommender import Recommender

_SMALLEST = 1e-9


class Ensemble(Recommender):
    """Scaled concatenation of the members' vectors.

    Args:
        members: fitted models over one catalogue.
        weights: one per member; None for all 1.
        items: tonight's catalogue.
    """

    kind = "ensemble"

    def __init__(self, members: list[Recommender], weights: list[float] | None, items: ItemTable) -> None:
        super().__init__(max(m.n_users for m in members), max(m.n_items for m in members), items)
        self.members = nn.ModuleList(members)
        self.weights = [1.0] * len(members) if weights is None else [float(w) for w in weights]
        self.dims: list[int] | None = None
        self._spread: tuple[Tensor, list[Tensor]] | None = None

    @property
    def factorised(self) -> bool:
        return all(self._member(i).factorised for i in range(len(self.members)))

    @property
    def known_items(self) -> int:
        return min(self._member(i).known_items for i in range(len(self.members)))

    @property
    def scores_new_items(self) -> bool:
        return all(self._member(i).scores_new_items for i in range(len(self.members)))

    def encode_items(self) -> Tensor:
        parts = [self._member(i).encode_items() for i in range(len(self.members))]
        self.dims = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=1)

    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        parts = []
        for i, (part_NM, spread_MM) in enumerate(zip(self._parts(items_ND), self._spreads(items_ND), strict=True)):
            member = self._member(i)
            users_BM = member.encode_users(batch, part_NM) * member.encodable(batch)[:, None]
            parts.append(users_BM * self._scale(i, _deviation(users_BM, spread_MM))[:, None])
        return torch.cat(parts, dim=1)

    def score_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        if self.factorised:
            return super().score_users(batch, items_ND)
        allowed_N = self.allowed()
        total_BN = torch.zeros(len(batch), self.n_catalogue, device=items_ND.device)
        for i, part_NM in enumerate(self._parts(items_ND)):
            member = self._member(i)
            scores_BN = member.score_users(batch, part_NM) * member.encodable(batch)[:, None]
            deviation_B = scores_BN[:, allowed_N].double().std(dim=1, correction=0).float()
            total_BN += scores_BN * self._scale(i, deviation_B)[:, None]
        return total_BN

    def encodable(self, batch: UserBatch) -> Tensor:
        known = [self._member(i).encodable(batch) for i in range(len(self.members))]
        return torch.stack(known).any(dim=0)

    def drop_item_side(self) -> None:
        for i in range(len(self.members)):
            self._member(i).drop_item_side()

    @property
    def n_params(self) -> int:
        return sum(self._member(i).n_params for i in range(len(self.members)))

    def describe(self) -> dict[str, Any]:
        members = [self._member(i).describe() for i in range(len(self.members))]
        return {"kind": self.kind, "weights": self.weights, "dims": self.dims, "members": members}

    def _scale(self, i: int, deviation_B: Tensor) -> Tensor:
        """What makes z-scores of a member's scores, times its weight; 0 for who has one score for everything."""
        return torch.where(deviation_B > _SMALLEST, self.weights[i] / deviation_B.clamp(min=_SMALLEST), 0.0)

    def _member(self, i: int) -> Recommender:
        member = self.members[i]
        assert isinstance(member, Recommender)
        return member

    def _parts(self, items_ND: Tensor) -> tuple[Tensor, ...]:
        if self.dims is None:
            with torch.no_grad():
                self.encode_items()
        assert self.dims is not None
        return torch.split(items_ND, self.dims, dim=1)

    def _spreads(self, items_ND: Tensor) -> list[Tensor]:
        """Per member, a matrix S with standard deviation |S u|; computed once per items_ND."""
        if self._spread is None or self._spread[0] is not items_ND:
            allowed_N = self.allowed().to(items_ND.device)
            self._spread = items_ND, [_spread(part_NM[allowed_N]) for part_NM in self._parts(items_ND)]
        return self._spread[1]


def _spread(items_NM: Tensor) -> Tensor:
    """S [R, M] with S'S the covariance of the rows; R = min(N, M), whichever is cheaper to multiply by."""
    rows, dims = items_NM.shape
    centred_NM = (items_NM - items_NM.mean(dim=0)).to(torch.float64) / max(rows, 1) ** 0.5
    if rows > dims:
        centred_NM = torch.linalg.qr(centred_NM, mode="r").R
    spread_RM: Tensor = centred_NM.to(torch.float32)
    return spread_RM


def _deviation(users_BM: Tensor, spread_RM: Tensor) -> Tensor:
    deviation_B: Tensor = torch.linalg.vector_norm(users_BM @ spread_RM.T, dim=1)
    return deviation_B
