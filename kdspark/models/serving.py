"""What a worker asks for lists: the user side of a model beside item vectors that were computed before.

Legend: B users, N items, D dims.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from kdspark.models.answers import Answers, Catalogue, answer
from kdspark.models.batch import UserBatch
from kdspark.models.recommender import Recommender
from kdspark.ranking.index import ItemIndex


@dataclass(frozen=True)
class Serving:
    """A loaded serving bundle; `storage.load_serving` makes it.

    Args:
        model: the user side.
        items_ND: item vectors, float32.
        allowed_N: bool, items that may be recommended.
        popularity_N: int64, events per item.
        description: the contents of model.json.
    """

    model: Recommender
    items_ND: Tensor
    allowed_N: Tensor
    popularity_N: Tensor
    description: Mapping[str, Any]

    def answer(self, batch: UserBatch) -> Answers:
        """The batch's users, encoded."""
        return answer(self.model, batch, self.catalogue)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items, prepared once for all batches."""
        return Catalogue(self.items_ND, self.allowed_N)

    def encodable(self, batch: UserBatch) -> Tensor:
        """bool [B]: False where popularity should answer."""
        return self.model.encodable(batch)

    @property
    def allowed_N_numpy(self) -> npt.NDArray[np.bool_]:
        """The mask of allowed items as numpy."""
        return np.asarray(self.allowed_N.numpy(), np.bool_)

    @cached_property
    def popular(self) -> ItemIndex:
        """The items as vectors of one dimension, their share of events, prepared once for all batches."""
        return ItemIndex(self.popularity_share_N[:, None], self.allowed_N_numpy, halves=False)

    @property
    def popularity_share_N(self) -> npt.NDArray[np.float32]:
        """Share of all events."""
        counts_N = self.popularity_N_numpy.astype(np.float64)
        return (counts_N / max(counts_N.sum(), 1.0)).astype(np.float32)  # type: ignore[no-any-return]

    @property
    def popularity_N_numpy(self) -> npt.NDArray[np.int64]:
        """Events per item as numpy."""
        return np.asarray(self.popularity_N.numpy(), np.int64)
