"""Feature towers: codes, numbers and dense vectors of a user or an item -> one vector.

Legend: B rows (users or items), C codes, F numbers, V vector, D dims.
"""

import torch
from torch import Tensor, nn

from kdspark.errors import ModelError
from kdspark.models.batch import FeatureSizes


class FeatureTower(nn.Module):
    """Mean of code embeddings plus a linear map of numbers and vector; then, with `hidden`, a residual MLP.

    Args:
        sizes: feature widths seen in training. Codes beyond them count as padding: they are new since.
        dim: D.
        hidden: width of the MLP's hidden layer; None for none.
    """

    def __init__(self, sizes: FeatureSizes, dim: int, hidden: int | None = None) -> None:
        super().__init__()
        self.sizes, self.dim = sizes, dim
        dense = sizes.n_numbers + sizes.n_vector
        self.codes = nn.EmbeddingBag(sizes.n_codes, dim, mode="mean", padding_idx=0) if sizes.n_codes > 1 else None
        self.dense = nn.Linear(dense, dim) if dense else None
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim)) if hidden else None
        if self.codes is not None:
            nn.init.normal_(self.codes.weight, std=dim**-0.5 / 4)
            nn.init.zeros_(self.codes.weight[0])
        if self.dense is not None:
            # As small as the embeddings beside it: torch's default would drown them in what all rows share.
            nn.init.normal_(self.dense.weight, std=(dim * dense) ** -0.5 / 4)
            nn.init.zeros_(self.dense.bias)

    def forward(self, codes_BC: Tensor, numbers_BF: Tensor, vector_BV: Tensor) -> Tensor:
        """[B, D].

        Raises:
            ModelError: the numbers or vectors have other widths than in training.
        """
        self._check(numbers_BF, vector_BV)
        out_BD = numbers_BF.new_zeros(len(numbers_BF), self.dim)
        if self.codes is not None and codes_BC.shape[1]:
            known_BC = torch.where(codes_BC < self.sizes.n_codes, codes_BC, 0)
            out_BD = out_BD + self.codes(known_BC)
        if self.dense is not None:
            out_BD = out_BD + self.dense(torch.cat([numbers_BF, vector_BV], dim=1))
        return out_BD if self.mlp is None else out_BD + self.mlp(out_BD)

    def _check(self, numbers_BF: Tensor, vector_BV: Tensor) -> None:
        found = numbers_BF.shape[1], vector_BV.shape[1]
        if found != (self.sizes.n_numbers, self.sizes.n_vector):
            raise ModelError(
                f"Features have {found[0]} numbers and {found[1]} vector entries, the model was trained on "
                f"{self.sizes.n_numbers} and {self.sizes.n_vector}.",
                "Keep the feature columns of the configuration as they were in training, or train again.",
            )


def has_features(codes_BC: Tensor, numbers_BF: Tensor, vector_BV: Tensor) -> Tensor:
    """bool [B]: rows of which some feature is known.

    A row counts if it has a code or a non-zero vector; numbers are always filled, so they count (if any is not
    zero) only where there are neither codes nor vectors.
    """
    if codes_BC.shape[1] or vector_BV.shape[1]:
        return (codes_BC > 0).any(dim=1) | (vector_BV != 0).any(dim=1)
    return (numbers_BF != 0).any(dim=1)
