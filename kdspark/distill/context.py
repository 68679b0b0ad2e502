"""What the parts of a loss share in one step: vectors and scores, each computed when first asked for.

Legend: B rows, L history length, C candidates, N items, R items, D dims.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from kdspark.distill.batches import ExampleBatch
from kdspark.distill.scores import history_mask, scores_of
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
    """

    batch: ExampleBatch
    users_BD: Tensor
    items_ND: Tensor
    top_k: int = 0
    catalogue: bool = False
    mask_history: bool = True

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
    def scores_BN(self) -> Tensor | None:
        """The student's scores of the catalogue, -inf for the history; None unless `catalogue`."""
        return self._mask((self.users_BD @ self.items_ND.T).float()) if self.catalogue else None

    @cached_property
    def candidate_scores_BC(self) -> Tensor:
        """The student's scores of the candidates; PAD scores as item 0."""
        return self.scores(self.candidates_BC)

    def scores(self, items_BR: Tensor) -> Tensor:
        """The student's scores of each row's own items; PAD scores as item 0."""
        return scores_of(self.users_BD, self.items_ND, items_BR, self.scores_BN)

    def _mask(self, scores_BN: Tensor) -> Tensor:
        if not self.mask_history:
            return scores_BN
        mask_BN = history_mask(self.batch.users.history, self._kept(), scores_BN.shape[1])
        return scores_BN.masked_fill(mask_BN, -torch.inf)

    def _kept(self) -> list[Tensor]:
        """What stays in the catalogue though it is in the history."""
        return [self.batch.targets] + ([] if self.batch.candidates is None else [self.batch.candidates])
