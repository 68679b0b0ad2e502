"""Forgetting users: their rows of a stored model's tables of users become zero, as those of users never trained."""

from collections.abc import Sequence
from pathlib import Path

import torch

from kdspark.models.storage import rewrite

_USER_TABLE = "user_encoder.table.weight"


def forget_users(folder: Path, users: Sequence[int]) -> None:
    """Rewrite a model folder without what it knows of single users; all else stays as it is.

    Weights that many users have in common were learned from these, too, and still are.

    Args:
        users: their indices.

    Raises:
        ModelError: the folder is damaged.
    """
    gone = torch.tensor(sorted(users), dtype=torch.int64)

    def forget(name: str, weights: torch.Tensor) -> torch.Tensor:
        if name == _USER_TABLE or name.endswith(f".{_USER_TABLE}"):
            weights = weights.clone()
            weights[gone[gone < len(weights)]] = 0
        return weights

    rewrite(folder, forget)
