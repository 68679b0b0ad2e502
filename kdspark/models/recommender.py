"""The contract of every recommender, teacher or student: scores are inner products of user and item vectors.

    scores_BN = encode_users(batch, items_ND) @ items_ND.T,  items_ND = encode_items()

A model has an item side, needed only to compute items_ND, and a user side. `drop_item_side` leaves what a worker
needs beside items_ND. An item bias is one more dimension, in which every user has 1.

Item-item models, whose vectors would be as long as the catalogue, are not `factorised`: their vectors have no
dimensions, and `score_users` answers instead. Whatever asks any model for its best items goes through
`kdspark.models.answers`, which knows the difference.

Legend: B users, L history length, N items, D dims.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from kdspark.errors import ModelError
from kdspark.models.batch import ItemTable, UserBatch


class Recommender(nn.Module, ABC):
    """Base of all models.

    Args:
        n_users: users 0..n_users-1 may have weights of their own.
        n_items: items 0..n_items-1 may have weights of their own.
        items: tonight's catalogue. It may have grown since the model was trained, never shrunk. Its features are
            buffers that are not saved, so that the same weights can be used with another night's features.

    Raises:
        ModelError: the catalogue has fewer items than the model.
    """

    kind: str
    causal = False

    def __init__(self, n_users: int, n_items: int, items: ItemTable) -> None:
        super().__init__()
        if len(items) < n_items:
            raise ModelError(
                f"The model knows {n_items} items, the item table has only {len(items)}.",
                "Use the item table of the same workspace (the vocabulary only grows), or train again.",
            )
        self.n_users, self.n_items = n_users, n_items
        self.n_catalogue = len(items)
        for name, tensor in (
            ("item_codes", items.codes),
            ("item_numbers", items.numbers),
            ("item_vector", items.vector),
            ("n_events", items.n_events),
        ):
            self.register_buffer(name, tensor, persistent=False)

    @abstractmethod
    def encode_items(self) -> Tensor:
        """Item vectors, float32 [N, D], N the size of the catalogue; zero for items the model does not know."""

    @abstractmethod
    def encode_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        """User vectors, float32 [B, D]; finite for every user, also for unknown ones.

        Args:
            batch: the users.
            items_ND: what `encode_items` returned; histories are embedded by looking them up here.
        """

    def serve_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        """`encode_users` of a model in evaluation mode, as fast as it can: in whatever batches and windows suit it.

        As there, in batches of one fixed size a user's vector does not depend on who shares the batch.
        """
        return self.encode_users(batch, items_ND)

    def score_users(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        """Scores of the whole catalogue, float32 [B, N]."""
        return self.serve_users(batch, items_ND) @ items_ND.T

    @abstractmethod
    def encodable(self, batch: UserBatch) -> Tensor:
        """bool [B]: False where the model knows nothing of a user, whom popularity should answer."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON-able facts from which `build.from_description` builds the same model with other weights."""

    def encode_positions(self, batch: UserBatch, items_ND: Tensor) -> Tensor:
        """User vectors after each item of the history, [B, W, D], W = min(L, window), aligned with its last columns.

        Only for models with `causal`: the vector after an item does not depend on later ones. Zero at PAD.
        """
        raise NotImplementedError(f"{self.kind} does not read histories in order")

    def drop_item_side(self) -> None:
        """Forget what only `encode_items` needs."""

    @property
    def factorised(self) -> bool:
        """Whether scores are inner products of the vectors; if not, ask `score_users`."""
        return True

    @property
    def known_items(self) -> int:
        """Items 0..known_items-1 can be encoded; later ones are new since training."""
        return self.n_items

    @property
    def scores_new_items(self) -> bool:
        """Whether items without a training event get a score that means something: from features, or counts."""
        return False

    def allowed(self) -> Tensor:
        """bool [N]: items that may be recommended, those with an event that the model can encode."""
        n_events = self.get_buffer("n_events")
        return (n_events > 0) & (torch.arange(len(n_events), device=n_events.device) < self.known_items)

    @property
    def n_params(self) -> int:
        """Stored floating-point weights, whether learned by gradient or in closed form."""
        return sum(tensor.numel() for tensor in self.state_dict().values() if tensor.is_floating_point())

    def item_table(self) -> ItemTable:
        """Tonight's catalogue."""
        names = ("item_codes", "item_numbers", "item_vector", "n_events")
        return ItemTable(*(self.get_buffer(name) for name in names))
