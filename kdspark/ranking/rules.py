"""What a shop allows, as arrays: by item, once for a night, and by user, for those of a batch.

Legend: B users, N items, X words of 64 lists, Z boosts (the first for everyone, the others for a segment each),
G groups of items, S segments.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdspark.ranking.ragged import Csr

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Caps:
    """Groups of items (categories, providers) of which a list may hold so many.

    Attributes:
        groups_of: each item's groups, ascending, as CSR [N].
        items_of: each group's items, ascending, as CSR [G].
        most_G: int32, how many of a group.
        soft_G: whether more of it are better than a short list.
    """

    groups_of: tuple[Ints, Ints]
    items_of: tuple[Ints, Ints]
    most_G: npt.NDArray[np.int32]
    soft_G: Bools

    @classmethod
    def of(cls, n_items: int, pairs: tuple[Ints, Ints], most_G: npt.NDArray[np.int32], soft_G: Bools) -> "Caps":
        """
        Args:
            pairs: (item_idx, group), in any order; repeated pairs count once.
        """
        n_groups = len(most_G)
        keys = np.unique(np.asarray(pairs[0], np.int64) * max(1, n_groups) + pairs[1])
        items, groups = np.divmod(keys, max(1, n_groups))
        by_group = np.argsort(groups, kind="stable")
        return cls(
            (_indptr(items, n_items), groups),
            (_indptr(groups, n_groups), items[by_group]),
            np.asarray(most_G, np.int32),
            np.asarray(soft_G, np.bool_),
        )

    @property
    def hard_G(self) -> npt.NDArray[np.int32]:
        """How many of a group where a list would otherwise be short."""
        return np.where(self.soft_G, np.iinfo(np.int32).max, self.most_G).astype(np.int32)


@dataclass(frozen=True)
class Diversity:
    """Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    Attributes:
        share: what dissimilarity weighs, the rest being relevance.
        pool: best items to choose from; None: five times as many as a list holds.
    """

    share: float
    pool: int | None = None


@dataclass(frozen=True)
class Rules:
    """
    Attributes:
        allowed_N: False leaves an item out for everyone.
        withheld_NX: uint64, the lists that withhold an item from users who are subject to them, 64 to a word.
        boosts_NZ: added to a user's score, in standard deviations of the user's scores.
        backfill_N: what orders the items that fill up a list which the model cannot fill; -inf: not this one.
        segments_SX, weights_SZ: the lists that a segment is subject to, and whether a boost is its own.
    """

    allowed_N: Bools
    withheld_NX: Words
    boosts_NZ: Floats
    caps: Caps
    backfill_N: Floats
    segments_SX: Words
    weights_SZ: Floats
    diversity: Diversity | None = None


@dataclass(frozen=True)
class Subjects:
    """What holds for the users of a batch.

    Attributes:
        subject_BX: uint64, the lists that they are subject to.
        weights_BZ: what their boosts weigh: 1 or 0.
        left_out: items that a user must not get: seen ones, and those denied to that user alone.
        granted: the only items that a user may get, where `limited_B`.
    """

    subject_BX: Words
    weights_BZ: Floats
    left_out: Csr
    granted: Csr
    limited_B: Bools


def of_segments(rules: Rules, segments: Csr) -> tuple[Words, Floats]:
    """(subject_BX, weights_BZ) of users by the segments that they are in."""
    indptr, found = np.asarray(segments[0], np.int64), np.asarray(segments[1], np.int64)
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    subject_BX = np.zeros((len(indptr) - 1, rules.withheld_NX.shape[1]), np.uint64)
    weights_BZ = np.zeros((len(indptr) - 1, rules.boosts_NZ.shape[1]), np.float32)
    np.bitwise_or.at(subject_BX, rows, rules.segments_SX[found])
    np.maximum.at(weights_BZ, rows, rules.weights_SZ[found])
    weights_BZ[:, :1] = 1
    return subject_BX, weights_BZ


def _indptr(ascending: Ints, rows: int) -> Ints:
    return np.searchsorted(ascending, np.arange(rows + 1))
