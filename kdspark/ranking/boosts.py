"""Boosts within the one inner product: each is a dimension more.

Legend: B users, N items, D dims, Z boosts.
"""

import numpy as np
import numpy.typing as npt

from kdspark.ranking.index import ItemIndex
from kdspark.ranking.rules import Rules

Floats = npt.NDArray[np.float32]


class Boosted:
    """A catalogue in which boosts are further dimensions.

    A user's scores have the standard deviation sqrt(u' C u), C being the covariance of the item vectors.
    """

    def __init__(self, items_ND: Floats, rules: Rules, allowed_N: npt.NDArray[np.bool_]) -> None:
        allowed_N = allowed_N & rules.allowed_N
        items_ND = np.ascontiguousarray(items_ND, np.float32)
        some = items_ND[allowed_N].astype(np.float64)
        some -= some.mean(axis=0) if len(some) else 0
        self._covariance_DD = some.T @ some / max(1, len(some))
        boosted = np.hstack([items_ND, rules.boosts_NZ]) if rules.boosts_NZ.shape[1] else items_ND
        self.index = ItemIndex(boosted, allowed_N, withheld_NX=rules.withheld_NX)

    def users(self, users_BD: Floats, weights_BZ: Floats) -> Floats:
        """The vectors of users with weights of the boosts."""
        if not weights_BZ.shape[1]:
            return users_BD
        exact_BD = users_BD.astype(np.float64)
        variance_B = np.einsum("bd,de,be->b", exact_BD, self._covariance_DD, exact_BD, optimize=True)
        deviation_B = np.sqrt(np.maximum(variance_B, 0)).astype(np.float32)
        return np.hstack([users_BD, deviation_B[:, None] * weights_BZ])
