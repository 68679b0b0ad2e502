"""Terms on the teacher's ranking of the candidates: RD, CD, RRD and UnKD.

Legend: B rows, C candidates, K the teacher's ordered top among them, R the student's highest items, S drawn ones,
X pairs.
"""

import torch
from torch import Tensor

from kdspark.config import CDConfig, RDConfig, RRDConfig, UnKDConfig
from kdspark.distill.context import Context
from kdspark.distill.losses import (
    collaborative_distillation,
    collaborative_targets,
    discrepancy_weights,
    draw_by_rank,
    draw_group_pairs,
    draw_interesting,
    estimated_ranks,
    pairwise_ranking,
    popularity_groups,
    position_weights,
    ranking_distillation,
    relaxed_ranking,
)
from kdspark.distill.losses.sampling import draw_columns, take
from kdspark.distill.targets import standardised, standardised_like
from kdspark.distill.terms.term import Setting, Term
from kdspark.tables import PAD

_ROUNDING = 1e-5
Drawn = tuple[Tensor, Tensor, Tensor]
"""The student's scores of drawn items, the teacher's, and which were drawn; [B, S] each."""


class RankingTerm(Term):
    """RD on the teacher's top, weighted by position and, after the warm-up, by how far the student is off."""

    def __init__(self, config: RDConfig, setting: Setting) -> None:
        super().__init__(config)
        self.config = config

    def forward(self, context: Context) -> Tensor:
        scores_BK = context.candidate_scores_BC[:, : context.top_k]
        weights_BK = position_weights(context.present_BC[:, : context.top_k], self.config.decay)
        if context.progress >= self.config.warmup:
            _, sampled_BS = context.sampled(self.config.samples)
            # an item that is in the sample must not stand above itself by a rounding
            raised_BK = scores_BK.detach() + _ROUNDING * (1 + scores_BK.detach().abs())
            ranks_BK = estimated_ranks(raised_BK, sampled_BS, len(context.items_ND))
            weights_BK = weights_BK * discrepancy_weights(ranks_BK, self.config.mu)
        return ranking_distillation(scores_BK, weights_BK)


class CollaborativeTerm(Term):
    """CD on items drawn by the teacher's ranking of the candidates, by the student's, or from the student's own top.

    The paper draws from the whole ranking of the catalogue. By the teacher that is its top, which the candidates hold;
    by the student it takes the teacher's vectors (`reach`), as the student's own top may hold anything.
    """

    def __init__(self, config: CDConfig, setting: Setting) -> None:
        super().__init__(config)
        self.config = config
        self.ranks_catalogue = config.reach > 0 and not (config.pool or config.refresh)
        if config.reach:
            setting.vector_dims(config.kind)
            self.register_buffer("known_N", setting.teacher_known_N, persistent=False)

    def forward(self, context: Context) -> Tensor:
        config = self.config
        scores_BS, logits_BS, drawn_BS = (self._own if config.reach else self._of_candidates)(context)
        targets_BS = collaborative_targets(logits_BS, config.temperature, config.shift)
        return collaborative_distillation(scores_BS, targets_BS, drawn_BS)

    def _of_candidates(self, context: Context) -> Drawn:
        config, present_BC = self.config, context.present_BC
        order_BC = context.teacher_order_BC
        if config.guide == "student":
            own_BC = torch.where(present_BC, context.candidate_scores_BC.detach(), -torch.inf)
            order_BC = own_BC.argsort(dim=1, descending=True, stable=True)
        places_BS = draw_by_rank(present_BC.gather(1, order_BC), config.decay, config.samples)
        columns_BS = take(order_BC, places_BS)
        logits_BC = standardised(context.logits_BC, present_BC) if config.standardise else context.logits_BC
        return take(context.candidate_scores_BC, columns_BS), take(logits_BC, columns_BS), places_BS != PAD

    def _own(self, context: Context) -> Drawn:
        """From the student's highest items. Their z-scores are by the candidates' mean and deviation: by their own, a
        top of what the teacher thinks nothing of would look as good as the teacher's."""
        config, present_BC = self.config, context.present_BC
        highest_BR, _ = context.highest(config.reach, config.pool, config.refresh > 0)
        known_BR = (highest_BR != PAD) & self.get_buffer("known_N")[highest_BR.clamp(min=0)]
        known_B = (context.teacher_users_BE != 0).any(dim=1) & present_BC.any(dim=1)
        places_BS = draw_by_rank(known_BR & known_B[:, None], config.decay, config.samples)
        items_BS = take(highest_BR, places_BS)
        logits_BS = context.teacher_scores(items_BS)
        if config.standardise:
            logits_BS = standardised_like(logits_BS, context.logits_BC, present_BC)
        return context.scores(items_BS), logits_BS, places_BS != PAD


class RelaxedTerm(Term):
    """RRD: interesting items from the teacher's top, uninteresting ones from the tail."""

    def __init__(self, config: RRDConfig, setting: Setting) -> None:
        super().__init__(config)
        self.config = config

    def forward(self, context: Context) -> Tensor:
        k, config = context.top_k, self.config
        top_BS = draw_interesting(context.present_BC[:, :k], config.decay, config.interesting)
        uniform_BC = torch.where(context.present_BC[:, k:], 0.0, -torch.inf)
        tail_BS = draw_columns(uniform_BC, config.uninteresting)
        scores_BC = context.candidate_scores_BC
        tail_scores_BS = take(scores_BC[:, k:], tail_BS)
        return relaxed_ranking(take(scores_BC[:, :k], top_BS), top_BS != PAD, tail_scores_BS, tail_BS != PAD)


class PopularityTerm(Term):
    """UnKD on pairs of candidates within popularity groups of the catalogue."""

    def __init__(self, config: UnKDConfig, setting: Setting) -> None:
        super().__init__(config)
        self.config = config
        self.register_buffer("groups_N", popularity_groups(setting.n_events, config.groups), persistent=False)

    def forward(self, context: Context) -> Tensor:
        config, order_BC = self.config, context.teacher_order_BC
        groups_BC = self.get_buffer("groups_N")[context.candidates_BC.clamp(min=0)]
        groups_BC = torch.where(context.present_BC, groups_BC, PAD).gather(1, order_BC)
        better_BX, worse_BX = draw_group_pairs(groups_BC, config.groups, config.decay, config.pairs)
        scores_BC = context.candidate_scores_BC.gather(1, order_BC)
        return pairwise_ranking(take(scores_BC, better_BX), take(scores_BC, worse_BX), better_BX != PAD)
