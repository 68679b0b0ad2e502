"""A trained model among other items: its weights in a model of another catalogue, item by item and code by code.

Legend: N items of the new catalogue, M items known to both, C codes known to both, D dims and the bias.
"""

from typing import NamedTuple

from torch import Tensor

from kdspark.errors import ModelError
from kdspark.models.neural import NeuralRecommender

_ITEM_IDS = "item_encoder.ids.weight"
_ITEM_CODES = "item_encoder.tower.codes.weight"


class Pairs(NamedTuple):
    """Rows that mean the same: int64 `there` in the old tables, `here` in the new ones."""

    there: Tensor
    here: Tensor


def transfer(old: NeuralRecommender, new: NeuralRecommender, items: Pairs, codes: Pairs) -> None:
    """Give a freshly built model the weights of one that was trained on another catalogue.

    An item that the old model does not know gets the mean of the known ones' vectors, with a bias from its own events
    on the level that the known biases have moved to; a category that it does not know says nothing (zero). Where no
    item is known, a model that reads features tells them by these alone: all get the mean of the old catalogue.

    Args:
        old: of an equal configuration, without a table of users.
        new: fresh weights, changed in place.
        items: item indices [M], without repeats in `here`.
        codes: codes of item features [C].

    Raises:
        ModelError: no item is known to both and the model reads no features, or the models differ in a size.
    """
    if not len(items.here) and not old.config.item_features:
        raise ModelError("No item is known to the model.", "Name a model of a log that shares items with this one.")
    before, after = old.state_dict(), new.state_dict()
    for name, weights in after.items():
        if name == _ITEM_IDS:
            _place_items(before[name], weights, items)
        elif name == _ITEM_CODES:
            weights.zero_()
            if name in before:
                weights[codes.here] = before[name][codes.there]
        elif name not in before or before[name].shape != weights.shape:
            then = list(before[name].shape) if name in before else "nothing"
            raise ModelError(
                f"{name} is {list(weights.shape)} here and {then} in the model.", "Name a model with these features."
            )
        else:
            weights.copy_(before[name])


def _place_items(old_MD: Tensor, new_ND: Tensor, items: Pairs) -> None:
    fresh_N = new_ND[:, -1].clone()
    if not len(items.there):
        new_ND[:, :-1] = old_MD[:, :-1].mean(dim=0)
        return
    known_MD = old_MD[items.there]
    new_ND[:] = known_MD.mean(dim=0)
    new_ND[:, -1] = fresh_N + (known_MD[:, -1] - fresh_N[items.here]).mean()
    new_ND[items.here] = known_MD
