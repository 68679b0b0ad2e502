"""Growing a trained model: its weights in one with more users, items and categories.

Legend: N items of tonight, O those the old model knows, D dims.
"""

import torch
from torch import Tensor, nn

from kdspark.errors import ModelError
from kdspark.models.neural import NeuralRecommender

_ITEM_IDS = "item_encoder.ids.weight"


def grow(old: NeuralRecommender, new: NeuralRecommender) -> None:
    """Give a freshly built model an older one's weights.

    Rows of users, items and categories that the old model has are copied; those after them stay as they were built,
    but for new items: they start at the mean of the known items' vectors plus their own initial noise, with a bias on
    the level that the known biases have moved to. A category that no longer occurs is dropped.

    Args:
        old: of an equal configuration; its vocabularies are the beginnings of the new model's.
        new: fresh weights, changed in place.

    Raises:
        ModelError: the configurations differ in a size, or the new model has fewer users or items.
    """
    if new.n_users < old.n_users or new.n_items < old.n_items:
        raise ModelError(
            f"A model of {old.n_users:,} users and {old.n_items:,} items cannot become one of {new.n_users:,} and "
            f"{new.n_items:,}.",
            "Start from a model of this --root, whose vocabulary only grows.",
        )
    before, after = old.state_dict(), new.state_dict()
    fresh_ND = after[_ITEM_IDS].clone() if _ITEM_IDS in after else None
    parts = new.named_modules()
    tables = {f"{name}.weight" for name, part in parts if isinstance(part, nn.Embedding | nn.EmbeddingBag)}
    for name, weights in after.items():
        if name in before:
            _copy(name, before[name], weights, name in tables)
    if fresh_ND is not None and new.n_items > old.n_items:
        _place_new_items(after[_ITEM_IDS], fresh_ND, old.n_items, new.get_buffer("n_events"))


def _copy(name: str, source: Tensor, target: Tensor, grows: bool) -> None:
    if source.shape[1:] != target.shape[1:] or not (grows or source.shape == target.shape):
        raise ModelError(
            f"{name} has shape {list(source.shape)} in the old model, {list(target.shape)} in the new one.",
            "Start from a model of the same configuration and features.",
        )
    if source.dim() == 0:
        target.copy_(source)
        return
    rows = min(len(source), len(target))
    target[:rows] = source[:rows]


def _place_new_items(items_ND: Tensor, fresh_ND: Tensor, known: int, n_events_N: Tensor) -> None:
    """An item nobody has chosen yet is an average one: users who point away from all items would otherwise love it."""
    active_O = n_events_N[:known] > 0
    if not bool(active_O.any()):
        active_O = torch.ones_like(active_O)
    moved_D = (items_ND[:known] - fresh_ND[:known])[active_O].mean(dim=0)  # of it, the bias's shift is meant
    mean_D = items_ND[:known][active_O].mean(dim=0)
    shift_D = torch.cat([mean_D[:-1], moved_D[-1:]])
    items_ND[known:] = fresh_ND[known:] + shift_D
