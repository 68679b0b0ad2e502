"""What the parts of a loss share in one step: vectors, scores and draws, each computed when first asked for.

Legend: B rows, L history length, C candidates, N items, S sampled items, R items, P a pool of items, X known items,
D dims, E dims of the teacher.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from kdspark.distill.batches import ExampleBatch
from kdspark.distill.losses import catalogue_log_sum, within
from kdspark.distill.scores import history_mask, sample_items, scores_of
from kdspark.errors import TrainingError
from kdspark.models.history import sampled_mask
from kdspark.tables import PAD


@dataclass
class Context:
    """One step.

    Args:
        batch: the rows; without candidates and logits where nothing reads them.
        users_BD, items_ND: the student's vectors.
        top_k: how many of the candidates are the teacher's ordered top.
        catalogue: whether the scores of the whole catalogue are computed, with their gradient; then all others are
            taken from them.
        mask_history: whether the row's history, unless a target or a candidate, is out of the catalogue.
        mask_soft: whether it is out of the catalogue of the soft part; of a set's row, whose targets are its history,
            it is out there alone.
        progress: share of the training that is done.
        temperature: of the step.
        teacher_items_NE: the teacher's item vectors.
        kept_BR: the student's highest items of the rows, found in the whole catalogue some epochs ago; PAD where fewer.
    """

    batch: ExampleBatch
    users_BD: Tensor
    items_ND: Tensor
    top_k: int = 0
    catalogue: bool = False
    mask_history: bool = True
    mask_soft: bool = True
    progress: float = 0.0
    temperature: float = 1.0
    teacher_items_NE: Tensor | None = None
    kept_BR: Tensor | None = None
    _log_sums: dict[tuple[bool, float], Tensor] = field(default_factory=dict)

    @property
    def candidates_BC(self) -> Tensor:
        """The teacher's top-K in order, then the tail; PAD where missing."""
        assert self.batch.candidates is not None
        return self.batch.candidates

    @property
    def logits_BC(self) -> Tensor:
        """The teacher's scores of the candidates."""
        assert self.batch.logits is not None
        return self.batch.logits

    @property
    def present_BC(self) -> Tensor:
        """bool: which candidates there are."""
        return self.candidates_BC != PAD

    @cached_property
    def teacher_order_BC(self) -> Tensor:
        """Columns of the candidates, the one that the teacher scores highest first, missing ones last."""
        known_BC = torch.where(self.present_BC, self.logits_BC, -torch.inf)
        return known_BC.argsort(dim=1, descending=True, stable=True)

    @cached_property
    def scores_BN(self) -> Tensor | None:
        """The student's scores of the catalogue, -inf for history left out; None unless `catalogue`."""
        return self._mask((self.users_BD @ self.items_ND.T).float()) if self.catalogue else None

    def log_sum(self, soft: bool = False, temperature: float | Tensor = 1.0) -> Tensor:
        """log Z [B, 1] of the student's softmax over the catalogue.

        Args:
            soft: of the soft part, which leaves out what the user already did, if that will not come again.
            temperature: divides the scores; one for all rows, or one for each [B, 1].
        """
        apart = soft and self.mask_soft and not self.mask_history
        if isinstance(temperature, Tensor):
            return self._log_sum(apart, temperature)
        key = apart, temperature
        if key not in self._log_sums:
            self._log_sums[key] = self._log_sum(*key)
        return self._log_sums[key]

    def _log_sum(self, apart: bool, temperature: float | Tensor) -> Tensor:
        """Of the soft part where that leaves out other items than the hard one, or of both."""
        kept = [self.batch.targets] if not apart else []
        kept += [] if self.batch.candidates is None else [self.batch.candidates]
        history_BL = self.batch.users.history
        if self.scores_BN is None:
            left_out_BL = history_BL if apart or self.mask_history else None
            if isinstance(temperature, Tensor):
                users_BD = self.users_BD / temperature
                return catalogue_log_sum(users_BD, self.items_ND, left_out_BL, kept)
            return catalogue_log_sum(self.users_BD, self.items_ND, left_out_BL, kept, temperature)
        scores_BN = self.scores_BN
        if apart:
            scores_BN = scores_BN.masked_fill(history_mask(history_BL, kept, scores_BN.shape[1]), -torch.inf)
        return (scores_BN / temperature).logsumexp(dim=1, keepdim=True)

    @cached_property
    def candidate_scores_BC(self) -> Tensor:
        """The student's scores of the candidates; PAD scores as item 0."""
        return self.scores(self.candidates_BC)

    def scores(self, items_BR: Tensor) -> Tensor:
        """The student's scores of each row's own items; PAD scores as item 0."""
        return scores_of(self.users_BD, self.items_ND, items_BR, self.scores_BN)

    @property
    def teacher_users_BE(self) -> Tensor:
        """The teacher's vectors of the rows' users; zeros where it knows nothing of one.

        Raises:
            TrainingError: the rows hold none.
        """
        if self.batch.teacher_vectors is None:
            raise TrainingError("The training rows hold no vectors of the teacher.", "Run the soft_labels stage again.")
        return self.batch.teacher_vectors

    def teacher_scores(self, items_BR: Tensor) -> Tensor:
        """The teacher's scores [B, R] of each row's own items, whether candidates or not, by its vectors, in float32.

        PAD scores as item 0. A vector of zeros says that the teacher knows nothing of a user or an item, not that the
        score is 0.
        """
        assert self.teacher_items_NE is not None
        with torch.autocast(items_BR.device.type, enabled=False):
            return scores_of(self.teacher_users_BE.float(), self.teacher_items_NE.float(), items_BR, None)

    def sampled(self, size: int) -> tuple[Tensor, Tensor]:
        """Items [S] drawn uniformly for the whole batch; their scores [B, S], without gradient, -inf for known ones.

        What a user already did is known: targets, and, with `mask_history`, the history; not if it is a candidate. The
        teacher does not recommend it, so that the student is not held to rank it below the teacher's items.
        """
        n_items = len(self.items_ND)
        items_S = sample_items(n_items, size, self.items_ND.device)
        known_BS = sampled_mask(items_S, self._known(), n_items) & ~sampled_mask(items_S, self.candidates_BC, n_items)
        with torch.no_grad():
            scores_BS = (self.users_BD @ self.items_ND[items_S].T).float()
        return items_S, scores_BS.masked_fill(known_BS, -torch.inf)

    def highest(self, size: int, pool: int = 0, kept: bool = False) -> tuple[Tensor, Tensor]:
        """The items [B, R] that the student scores highest, its best first, and their scores, without gradient.

        Known items (see `sampled`) are left out.

        Args:
            size: R, at most; PAD with a score of -inf where there are fewer.
            pool: look among so many uniformly drawn items and the candidates; 0 looks in the whole catalogue.
            kept: look among the items kept of an earlier step and the candidates.
        """
        if kept:
            return self._highest_kept(size)
        if pool:
            return self._highest_of_pool(size, pool)
        best_BR = self._ranking().topk(min(size, len(self.items_ND)), dim=1)
        return torch.where(torch.isfinite(best_BR.values), best_BR.indices, PAD), best_BR.values

    @property
    def known_BX(self) -> Tensor:
        """Items that the student's own top leaves out: what a user already did, unless it is a candidate; else PAD."""
        return self.outside(self._known())

    def outside(self, items_BR: Tensor) -> Tensor:
        """Each row's own items, PAD for those among its candidates."""
        return torch.where(within(items_BR, self.candidates_BC), PAD, items_BR)

    def _highest_kept(self, size: int) -> tuple[Tensor, Tensor]:
        assert self.kept_BR is not None
        items_BP = torch.cat([self.candidates_BC, self.outside(self.kept_BR)], dim=1)
        scores_BP = torch.where(items_BP != PAD, self.scores(items_BP).detach(), -torch.inf)
        best_BR = scores_BP.topk(min(size, scores_BP.shape[1]), dim=1)
        items_BR = items_BP.gather(1, best_BR.indices)
        return torch.where(torch.isfinite(best_BR.values), items_BR, PAD), best_BR.values

    def _highest_of_pool(self, size: int, pool: int) -> tuple[Tensor, Tensor]:
        items_S, scores_BS = self.sampled(pool)
        twice_BS = sampled_mask(items_S, self.candidates_BC, len(self.items_ND))
        own_BC = torch.where(self.present_BC, self.candidate_scores_BC.detach(), -torch.inf)
        scores_BP = torch.cat([own_BC, scores_BS.masked_fill(twice_BS, -torch.inf)], dim=1)
        best_BR = scores_BP.topk(min(size, scores_BP.shape[1]), dim=1)
        width, place_BR = own_BC.shape[1], best_BR.indices
        from_row_BR = self.candidates_BC.gather(1, place_BR.clamp(max=width - 1))
        items_BR = torch.where(place_BR < width, from_row_BR, items_S[(place_BR - width).clamp(min=0)])
        return torch.where(torch.isfinite(best_BR.values), items_BR, PAD), best_BR.values

    def _ranking(self) -> Tensor:
        with torch.no_grad():
            scores_BN = (self.users_BD @ self.items_ND.T).float() if self.scores_BN is None else self.scores_BN.detach()
            known_BN = history_mask(self._known(), [self.candidates_BC], len(self.items_ND))
            return scores_BN.masked_fill(known_BN, -torch.inf)

    def _known(self) -> Tensor:
        targets_BT = self.batch.targets
        return torch.cat([self.batch.users.history, targets_BT], dim=1) if self.mask_history else targets_BT

    def _mask(self, scores_BN: Tensor) -> Tensor:
        if not self.mask_history:
            return scores_BN
        kept = [self.batch.targets] + ([] if self.batch.candidates is None else [self.batch.candidates])
        return scores_BN.masked_fill(history_mask(self.batch.users.history, kept, scores_BN.shape[1]), -torch.inf)
