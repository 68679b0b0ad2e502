"""The term of RCE-KD: it finds the student's own top items, anew in every step or among those kept.

Legend: B rows, K the teacher's ordered top, R the student's highest items, M its top among them, S drawn items,
O competitors.
"""

import torch
from torch import Tensor

from kdspark.config import RCEConfig
from kdspark.distill.context import Context
from kdspark.distill.losses import closure_counts, draw_closure, rejuvenated_cross_entropy, within
from kdspark.distill.losses.sampling import take
from kdspark.distill.soft import targets_of_step
from kdspark.distill.terms.term import Setting, Term
from kdspark.tables import PAD


class RejuvenatedTerm(Term):
    """RCE-KD with the targets and the temperature of the soft labels.

    The paper draws from all items above the teacher's, once an epoch; here from the student's `reach` highest ones (as
    its published code does), in every step. With a `pool` the student's top is that among the pool and the candidates,
    so that no step scores the catalogue; the overlap is then overestimated. With `refresh` it is that among the items
    which were its highest at most so many epochs ago, and the candidates.
    """

    def __init__(self, config: RCEConfig, setting: Setting) -> None:
        super().__init__(config)
        self.config, self.distill = config, setting.distill
        self.ranks_catalogue = not (config.pool or config.refresh)

    def forward(self, context: Context) -> Tensor:
        config, top_BK = self.config, context.candidates_BC[:, : context.top_k]
        targets_BC, temperature = targets_of_step(context, self.distill)
        scores_BK = context.candidate_scores_BC[:, : context.top_k]
        highest_BR, highest_scores_BR = context.highest(config.kept, config.pool, config.refresh > 0)
        own_BM = highest_BR[:, : config.top]
        shared_BK = within(top_BK, own_BM)
        reach_BR, reach_scores_BR = highest_BR[:, : config.reach], highest_scores_BR[:, : config.reach]
        counts_BR = closure_counts(reach_scores_BR, scores_BK, (top_BK != PAD) & ~shared_BK)
        columns_BS = draw_closure(counts_BR, reach_BR != PAD, config.tau, config.samples)
        drawn_BS = torch.where(columns_BS == PAD, PAD, take(reach_BR, columns_BS))
        competitors_BO = self._competitors(context, torch.cat([own_BM, drawn_BS], dim=1), top_BK, temperature)
        return rejuvenated_cross_entropy(
            scores_BK / temperature,
            targets_BC[:, : context.top_k],
            shared_BK,
            within(top_BK, drawn_BS),
            competitors_BO[:, : own_BM.shape[1]],
            competitors_BO[:, own_BM.shape[1] :],
            config.beta,
        )

    def _competitors(self, context: Context, items_BO: Tensor, top_BK: Tensor, temperature: float | Tensor) -> Tensor:
        """Scores of the items that are not in the teacher's top; -inf for the others."""
        outside_BO = (items_BO != PAD) & ~within(items_BO, top_BK)
        scores_BO = context.scores(items_BO) / temperature
        return torch.where(outside_BO, scores_BO, -torch.inf)
