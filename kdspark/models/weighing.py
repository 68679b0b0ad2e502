"""How much each member of an ensemble counts for each user: by agreement, or by a gate.

Both give factors whose mean over the members that know a user is 1. They scale members' scores, so an ensemble stays
one inner product where it was one.

Legend: B users, M members, K list length, F facts of a user.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from kdspark.config import AgreementConfig, MixtureConfig, OpinionConfig
from kdspark.models.opinions import Opinions
from kdspark.tables import PAD

_SMALLEST = 1e-9


class Weigher(nn.Module, ABC):
    """From the members' opinions of users to a factor per member and user."""

    config: OpinionConfig

    @abstractmethod
    def forward(self, opinions: Opinions) -> Tensor:
        """Factors, float32 [B, M]; 0 for members that do not know the user, on average 1 for those that do."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON-able facts from which `from_description` builds the same one with other weights."""


class Agreement(Weigher):
    """A member's factor is proportional to its mean likeness to the other members that know the user.

    So a member that finds what no other finds, which is more often an error than an insight, counts less: in the spirit
    of Wu & Crestani ("Data fusion with estimated weights", CIKM'02), who weigh retrieval systems by what their results
    have in common, without relevance judgements; here for each user. Likeness is rank-biased overlap (Webber et al.,
    TOIS'10), cut at K. It costs M (M - 1) / 2 comparisons of K x K items per user. Where no two members share an item,
    all count alike.
    """

    def __init__(self, config: AgreementConfig) -> None:
        super().__init__()
        self.config: AgreementConfig = config

    def forward(self, opinions: Opinions) -> Tensor:
        items_BMK, known_BM = opinions.items_BMK, opinions.known_BM.float()
        pair_weights_KK = overlap_weights(items_BMK.shape[2], self.config.persistence).to(items_BMK.device)
        likeness_BM = torch.zeros_like(known_BM)
        for a in range(items_BMK.shape[1]):
            for b in range(a):
                likeness_B = overlap(items_BMK[:, a], items_BMK[:, b], pair_weights_KK)
                likeness_B = likeness_B * known_BM[:, a] * known_BM[:, b]
                likeness_BM[:, a] += likeness_B
                likeness_BM[:, b] += likeness_B
        total_B1 = likeness_BM.sum(dim=1, keepdim=True)
        shared_BM = likeness_BM * known_BM.sum(dim=1, keepdim=True) / total_B1.clamp(min=_SMALLEST)
        return torch.where(total_B1 > _SMALLEST, shared_BM, known_BM)

    def describe(self) -> dict[str, Any]:
        return {"kind": "agreement", "config": self.config.model_dump(mode="json")}


def overlap_weights(size: int, persistence: float) -> Tensor:
    """W [K, K] with rank-biased overlap the sum of W over the ranks (i, j) at which two lists have the same item.

    RBO sums (1 - p) p^(d-1) |A_d and B_d in common| / d over the depths d; an item at ranks i and j (from 1) is common
    to both lists from depth max(i, j) on. Divided by 1 - p^K, so that a list is wholly like itself.
    """
    depths_K = torch.arange(1, size + 1, dtype=torch.float64)
    share_K = (1 - persistence) * persistence ** (depths_K - 1) / depths_K / (1 - persistence**size)
    from_depth_K = share_K.flip(0).cumsum(0).flip(0)
    ranks_K = torch.arange(size)
    return from_depth_K[torch.maximum(ranks_K[:, None], ranks_K)].float()


def overlap(ours_BK: Tensor, theirs_BK: Tensor, pair_weights_KK: Tensor) -> Tensor:
    """Rank-biased overlap [B], 0 to 1, of lists of distinct items; PAD is no item."""
    same_BKK = (ours_BK[:, :, None] == theirs_BK[:, None, :]) & (ours_BK != PAD)[:, :, None]
    return torch.where(same_BKK, pair_weights_KK, 0.0).sum(dim=(1, 2))


class Gate(Weigher):
    """Factors are shares, the softmax over the members that know the user, times the number of these.

    A member's logit is linear in 1 and the standardised facts of a user: log(1 + history), and for each member how far
    its best item leads the mean of its list. All zero, every member counts alike; `kdspark.distill.gate` fits them.
    """

    def __init__(self, config: MixtureConfig, members: int) -> None:
        super().__init__()
        self.config: MixtureConfig = config
        self.members = members
        self.register_buffer("weights", torch.zeros(members, members + 2))
        self.register_buffer("centre", torch.zeros(members + 1))
        self.register_buffer("spread", torch.ones(members + 1))

    def forward(self, opinions: Opinions) -> Tensor:
        facts_BF = standardised(facts(opinions), self.get_buffer("centre"), self.get_buffer("spread"))
        return gate_factors(facts_BF, self.get_buffer("weights"), opinions.known_BM)

    def describe(self) -> dict[str, Any]:
        return {"kind": "gate", "config": self.config.model_dump(mode="json"), "members": self.members}

    def record(self) -> dict[str, Any]:
        """What was fitted, JSON-able and exact: per member the weights of the facts named."""
        names = ["one", "log_history", *(f"lead_{i}" for i in range(self.members))]
        return {"facts": names} | {name: buffer.tolist() for name, buffer in self.named_buffers()}

    @classmethod
    def of_record(cls, config: MixtureConfig, record: dict[str, Any]) -> "Gate":
        """The gate that `record` was taken of."""
        gate = cls(config, len(record["weights"]))
        gate.load_state_dict({name: torch.tensor(record[name]) for name in gate.state_dict()})
        return gate


def facts(opinions: Opinions) -> Tensor:
    """What a gate knows of users, float32 [B, 1 + M], before it is standardised."""
    leads_BMK = opinions.leads_BMK
    there_BM = (opinions.items_BMK != PAD).sum(dim=2).clamp(min=1)
    stands_out_BM = leads_BMK[:, :, 0] - leads_BMK.sum(dim=2) / there_BM
    history_B1 = opinions.history_B.float().log1p()[:, None]
    return torch.cat([history_B1, stands_out_BM * opinions.known_BM], dim=1)


def standardised(facts_BF: Tensor, centre_F: Tensor, spread_F: Tensor) -> Tensor:
    """Facts minus centre over spread, within three spreads: a fact out of the ordinary must not decide alone."""
    return ((facts_BF - centre_F) / spread_F).clamp(-3, 3)


def gate_factors(facts_BF: Tensor, weights_MF: Tensor, known_BM: Tensor) -> Tensor:
    """Softmax over known members of weights times (1, facts), times their number [B, M]; 0 for unknown ones."""
    logits_BM = facts_BF @ weights_MF[:, 1:].T + weights_MF[:, 0]
    shares_BM = logits_BM.masked_fill(~known_BM, torch.finfo(logits_BM.dtype).min).softmax(dim=1)
    return shares_BM * known_BM * known_BM.sum(dim=1, keepdim=True)


def from_description(description: dict[str, Any]) -> Weigher:
    """What `Weigher.describe` described, its weights still to be loaded. Raises ValueError for an unknown kind."""
    if description["kind"] == "agreement":
        return Agreement(AgreementConfig.model_validate(description["config"]))
    if description["kind"] == "gate":
        return Gate(MixtureConfig.model_validate(description["config"]), int(description["members"]))
    raise ValueError(f"unknown way to combine {description['kind']!r}")
