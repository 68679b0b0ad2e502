"""Item-item models in closed form. `kind` selects the model; each has only its own keys."""

from typing import Literal

from pydantic import Field

from kdspark.config.base import Strict


class ItemItemConfig(Strict):
    """What closed-form item-item models share: a user's score for an item sums the weights from the history's items.

    Args:
        recency_decay: input weight of the n-th latest item is recency_decay**n; 1 weighs all alike.
        keep: how many weights each item keeps, those of largest magnitude; None keeps all of them, catalogue squared.
    """

    recency_decay: float = Field(1.0, gt=0, le=1)
    keep: int | None = Field(None, ge=1)


class EASEConfig(ItemItemConfig):
    """Closed-form item-item model (EASE, Steck, WWW'19): B = I - P diag(1/P), P = (X'X + l2 I)^-1."""

    kind: Literal["ease"] = "ease"
    l2: float = Field(250.0, gt=0)


class GFCFConfig(ItemItemConfig):
    """Closed-form graph filter (GF-CF, Shen et al., CIKM'21): a linear low-pass filter and `alpha` times an ideal one.

    Args:
        rank: singular vectors of the ideal low-pass filter.
        alpha: its weight.
    """

    kind: Literal["gfcf"] = "gfcf"
    rank: int = Field(256, ge=1)
    alpha: float = Field(0.3, ge=0)
    keep: int = Field(1000, ge=1)  # type: ignore[assignment]
