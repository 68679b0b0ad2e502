"""What a model answers for a batch of users: its best items, and the scores of chosen ones.

One way to ask for both kinds of models, those whose scores are inner products, and those that score the catalogue
themselves (`Recommender.factorised`).

Legend: B users, N items, D dims, K list length, X chosen items per user.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from kdspark.models.batch import UserBatch
from kdspark.models.recommender import Recommender
from kdspark.ranking.index import ItemIndex
from kdspark.ranking.products import pair_scores
from kdspark.ranking.ragged import Csr
from kdspark.ranking.topk import top_k, top_k_of_scores
from kdspark.tables import PAD

Floats = npt.NDArray[np.float32]
Top = tuple[npt.NDArray[np.int32], Floats]


class Answers(Protocol):
    """A batch of users, encoded."""

    def top(self, k: int, seen: Csr | None = None, memory_mib: int = 256, threads: int = 1) -> Top:
        """Items and scores [B, K], best first, as `kdspark.ranking.topk.top_k` returns them."""

    def scores_of(self, items_BX: npt.NDArray[np.integer[Any]]) -> Floats:
        """Scores [B, X] of each user's own items; PAD scores 0."""


@dataclass(frozen=True)
class VectorAnswers:
    """Scores are users_BD @ items_ND.T, of which the index says what is allowed."""

    users_BD: Floats
    index: ItemIndex

    def top(self, k: int, seen: Csr | None = None, memory_mib: int = 256, threads: int = 1) -> Top:
        return top_k(self.users_BD, self.index, k, seen, memory_mib=memory_mib, threads=threads)

    def scores_of(self, items_BX: npt.NDArray[np.integer[Any]]) -> Floats:
        return pair_scores(self.users_BD, self.index.items_ND, items_BX)


@dataclass(frozen=True)
class ScoreAnswers:
    """Scores are there already."""

    scores_BN: Floats
    allowed_N: npt.NDArray[np.bool_] | None = None

    def top(self, k: int, seen: Csr | None = None, memory_mib: int = 256, threads: int = 1) -> Top:
        return top_k_of_scores(self.scores_BN, k, seen, self.allowed_N, memory_mib, threads)

    def scores_of(self, items_BX: npt.NDArray[np.integer[Any]]) -> Floats:
        scores_BX = np.take_along_axis(self.scores_BN, np.maximum(items_BX, 0).astype(np.int64), axis=1)
        return np.where(items_BX == PAD, np.float32(0), scores_BX)


class Catalogue:
    """Items to answer with, prepared for many batches of users.

    Args:
        items_ND: what `encode_items` returned.
        allowed_N: bool, items that may be recommended.
    """

    def __init__(self, items_ND: Tensor, allowed_N: Tensor) -> None:
        self.items_ND = items_ND
        self.allowed_N = np.asarray(allowed_N.cpu().numpy(), np.bool_)

    @cached_property
    def index(self) -> ItemIndex:
        """For models whose scores are inner products."""
        return ItemIndex(as_floats(self.items_ND), self.allowed_N)


def answer(model: Recommender, batch: UserBatch, catalogue: Catalogue) -> Answers:
    """Encode a batch; call it without gradients.

    Args:
        model: in evaluation mode, or the user side of one.
        batch: on the model's device. Batches of one fixed size make the answers independent of who shares them.
    """
    items_ND = catalogue.items_ND
    if not model.factorised:
        return ScoreAnswers(as_floats(model.score_users(batch, items_ND)), catalogue.allowed_N)
    return VectorAnswers(as_floats(model.serve_users(batch, items_ND)), catalogue.index)


def as_floats(tensor: Tensor) -> Floats:
    """A tensor as the top-k kernel wants it, without its gradient."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
