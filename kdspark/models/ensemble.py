"""Ensembles: the weighted sum of members' scores, each standardised per user, still as one inner product.

A member's scores for user u over the allowed items have standard deviation s = sqrt(u' C u), C the covariance of its
item vectors over those items; so w * u / s beside the item vectors gives w times its z-scores, up to a constant per
user that changes no ranking. An ensemble with a member that is no inner product sums the z-scores themselves.

The weights w are the same for everyone, or a `Weigher` scales them for each user by what the members think of that
user. Then every member first scores a bounded part of the catalogue (`OpinionConfig.items`), even where vectors alone
are asked for.

Legend: B users, N items, C shortlisted items, D dims (all members'), M dims of one member, m members.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kdspark.config import OpinionConfig
from kdspark.models.batch import ItemTable, UserBatch
from kdspark.models.history import sampled_mask
from kdspark.models.opinions import Opinions, shortlist, top_of
from kdspark.models.recommender import Recommender
from kdspark.models.weighing import Weigher

_SMALLEST = 1e-9


class Ensemble(Recommender):
    """Scaled concatenation of the members' vectors.

    Args:
        members: fitted models over one catalogue.
        weights: one per member; None for all 1.
        items: tonight's catalogue.
        weigher: scales the weights for each user; None leaves them as they are.
    """

    kind = "ensemble"

    def __init__(
        self,
        members: list[Recommender],
        weights: list[float] | None,
        items: ItemTable,
        weigher: Weigher | None = None,
    ) -> None:
        super().__init__(max(m.n_users for m in members), max(m.n_items for m in members), items)
        self.members = nn.ModuleList(members)
        self.weights = [1.0] * len(members) if weights is None else [float(w) for w in weights]
        self.weigher = weigher
        self.dims: list[int] | None = None
        self._spread: tuple[Tensor, list[Tensor]] | None = None
        self._chosen: tuple[int, Tensor] | None = None

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
        items, users, deviations = self._parts(items_ND), [], []
        for i, (part_NM, spread_MM) in enumerate(zip(items, self._spreads(items_ND), strict=True)):
            member = self._member(i)
            users.append(member.serve_users(batch, part_NM) * member.encodable(batch)[:, None])
            deviations.append(_deviation(users[i], spread_MM))
        factors_Bm = None
        if self.weigher is not None:
            chosen_C = self._shortlist(self.weigher.config)
            scored = (users_BM @ part_NM[chosen_C].T for users_BM, part_NM in zip(users, items, strict=True))
            factors_Bm = self.weigher(self._opinions(batch, scored, deviations, self.weigher.config))
        scales = [self._scale(i, deviation_B, factors_Bm) for i, deviation_B in enumerate(deviations)]
        return torch.cat([users_BM * scale_B[:, None] for users_BM, scale_B in zip(users, scales, strict=True)], dim=1)

    def score_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        if self.factorised:
            return super().score_users(batch, items_ND)
        scored: Iterable[tuple[Tensor, Tensor]] = self._scored(batch, items_ND)
        factors_Bm = None
        if self.weigher is not None:
            scored = list(scored)  # every member's scores at once, since all decide on the factor of each
            factors_Bm = self.weigher(self._opinions_of(batch, scored, self.weigher.config))
        total_BN = torch.zeros(len(batch), self.n_catalogue, device=items_ND.device)
        for i, (scores_BN, deviation_B) in enumerate(scored):
            total_BN += scores_BN * self._scale(i, deviation_B, factors_Bm)[:, None]
        return total_BN

    def judge(self, batch: UserBatch, items_ND: Tensor, config: OpinionConfig) -> tuple[Tensor, Opinions]:
        """Members' z-scores up to a constant per member and user, float32 [B, m, N], and opinions: to fit a gate on."""
        scored = list(self._scored(batch, items_ND))
        z_BmN = torch.stack([scores_BN * _inverse(deviation_B)[:, None] for scores_BN, deviation_B in scored], dim=1)
        return z_BmN, self._opinions_of(batch, scored, config)

    def encodable(self, batch: UserBatch) -> Tensor:
        known = [self._member(i).encodable(batch) for i in range(len(self.members))]
        return torch.stack(known).any(dim=0)

    def drop_item_side(self) -> None:
        for i in range(len(self.members)):
            self._member(i).drop_item_side()

    @property
    def n_params(self) -> int:
        own = sum(tensor.numel() for tensor in self.weigher.state_dict().values()) if self.weigher else 0
        return own + sum(self._member(i).n_params for i in range(len(self.members)))

    def describe(self) -> dict[str, Any]:
        members = [self._member(i).describe() for i in range(len(self.members))]
        combine = {} if self.weigher is None else {"combine": self.weigher.describe()}
        return {"kind": self.kind, "weights": self.weights, "dims": self.dims, "members": members} | combine

    def _scale(self, i: int, deviation_B: Tensor, factors_Bm: Tensor | None) -> Tensor:
        """What makes z-scores of a member's scores, times its weight; 0 for who has one score for everything."""
        scale_B = _inverse(deviation_B, self.weights[i])
        return scale_B if factors_Bm is None else scale_B * factors_Bm[:, i]

    def _scored(self, batch: UserBatch, items_ND: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Each member's scores [B, N], 0 for users it does not know, and their deviation over allowed items [B]."""
        allowed_N = self.allowed()
        for i, part_NM in enumerate(self._parts(items_ND)):
            member = self._member(i)
            scores_BN = member.score_users(batch, part_NM) * member.encodable(batch)[:, None]
            yield scores_BN, scores_BN[:, allowed_N].double().std(dim=1, correction=0).float()

    def _opinions_of(self, batch: UserBatch, scored: list[tuple[Tensor, Tensor]], config: OpinionConfig) -> Opinions:
        chosen_C = self._shortlist(config)
        columns = (scores_BN[:, chosen_C] for scores_BN, _ in scored)
        return self._opinions(batch, columns, [deviation_B for _, deviation_B in scored], config)

    def _opinions(
        self, batch: UserBatch, columns: Iterable[Tensor], deviations: list[Tensor], config: OpinionConfig
    ) -> Opinions:
        """From each member's scores of the shortlisted items [B, C], one member's at a time."""
        chosen_C = self._shortlist(config)
        seen_BC = sampled_mask(chosen_C, batch.history, self.n_catalogue)
        tops = [
            top_of(scores_BC * _inverse(deviation_B)[:, None], seen_BC, chosen_C, config.top)
            for scores_BC, deviation_B in zip(columns, deviations, strict=True)
        ]
        known = [self._member(i).encodable(batch) for i in range(len(self.members))]
        history_B = ((batch.history >= 0) & (batch.history < self.known_items)).sum(dim=1)
        return Opinions.of(tops, known, history_B)

    def _shortlist(self, config: OpinionConfig) -> Tensor:
        """Computed once: neither the counts nor what is allowed change while a model answers."""
        if self._chosen is None or self._chosen[0] != config.items:
            self._chosen = config.items, shortlist(self.get_buffer("n_events"), self.allowed(), config.items)
        return self._chosen[1].to(self.get_buffer("n_events").device)

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


def _inverse(deviation_B: Tensor, weight: float = 1.0) -> Tensor:
    """weight / deviation; 0 where there is none."""
    return torch.where(deviation_B > _SMALLEST, weight / deviation_B.clamp(min=_SMALLEST), 0.0)


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
