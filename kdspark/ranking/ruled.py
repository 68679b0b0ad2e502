"""Lists that keep a shop's rules, filled from one source of items after the other, never short while items remain.

What is left out never reaches the lists: items out for everyone are not in the index, lists by segment are looked up
for candidates only, and a user's own are masked in the tile. Caps and diversity choose from a pool of the best. Where
it does not fill a list, the kernel is asked for more, without the items that the caps have closed: so a list is what
going down the whole catalogue would give, at the cost of a pass for those who need it.

Legend: B users, R users of a step, N items, D dims, K list length, P pool, Z boosts, E places of lists.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdspark.ranking.boosts import Boosted
from kdspark.ranking.index import ItemIndex
from kdspark.ranking.listed import best_of
from kdspark.ranking.picking import pick, unit_vectors
from kdspark.ranking.ragged import Csr, from_padded, joined, select_rows
from kdspark.ranking.rules import Caps, Diversity, Rules, Subjects
from kdspark.ranking.topk import top_k
from kdspark.tables import REASONS

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MODEL, COLD_START, BOOSTED, OVER_CAP, BACKFILL = range(len(REASONS))
_ENTRIES = 1 << 20  # left out for users whose lists fell short, at a time


@dataclass(frozen=True)
class Source:
    """Items in the order of an inner product, for some users of a batch.

    Attributes:
        rows: who they are, ascending.
        users_RD: their vectors.
        reason: why an item of it is in a list.
    """

    rows: Ints
    users_RD: Floats
    index: ItemIndex
    reason: int


class Catalogue:
    """A model's items under a night's rules, prepared once for all batches.

    Args:
        items_ND: their vectors.
        known_N: those that the model can recommend.
        popularity_N: for users whom the model does not know.
    """

    def __init__(self, items_ND: Floats, known_N: npt.NDArray[np.bool_], popularity_N: Floats, rules: Rules) -> None:
        self.rules = rules
        self.model, self.popular = Boosted(items_ND, rules, known_N), Boosted(popularity_N[:, None], rules, known_N)
        fills_N = rules.allowed_N & ~known_N & np.isfinite(rules.backfill_N)
        order_N1 = np.where(fills_N, rules.backfill_N, np.float32(0))[:, None]
        self.backfill = ItemIndex(order_N1, fills_N, withheld_NX=rules.withheld_NX)
        none = np.empty((len(items_ND), 0), np.float32)
        self.units_ND = unit_vectors(items_ND, known_N) if rules.diversity else none

    def lists(
        self, users_BD: Floats, known_B: npt.NDArray[np.bool_], subjects: Subjects, k: int, memory_mib: int
    ) -> "Lists":
        """K items of every user, fewer only where no more are allowed.

        Args:
            users_BD: of the model.
            known_B: False where popularity answers.
        """
        lists = Lists(self, subjects, k, memory_mib)
        known, strangers = np.flatnonzero(known_B), np.flatnonzero(~known_B)
        weights_BZ = subjects.weights_BZ
        sources = []
        if len(known):
            users_RD = self.model.users(users_BD[known], weights_BZ[known])
            sources.append(Source(known, users_RD, self.model.index, MODEL))
        if len(strangers):
            users_RD = self.popular.users(np.ones((len(strangers), 1), np.float32), weights_BZ[strangers])
            sources.append(Source(strangers, users_RD, self.popular.index, COLD_START))
        everyone = np.arange(len(users_BD))
        last = Source(everyone, np.ones((len(users_BD), 1), np.float32), self.backfill, BACKFILL)
        lists.fill(sources, [last] if len(self.backfill.columns) else [])
        lists.mark_boosted()
        return lists


class Lists:
    """The lists of a batch, as far as they are filled.

    Attributes:
        items_BK: item_idx in the order of the list, -1 behind it.
        scores_BK: float32, -inf behind it.
        reasons_BK: uint8, MODEL and so on.
        filled_B: how many there are.
    """

    def __init__(self, catalogue: Catalogue, subjects: Subjects, k: int, memory_mib: int) -> None:
        self._catalogue, self._subjects, self._memory_mib = catalogue, subjects, memory_mib
        self._caps: Caps = catalogue.rules.caps
        rows = len(subjects.limited_B)
        self.items_BK = np.full((rows, k), -1, np.int32)
        self.scores_BK = np.full((rows, k), -np.inf, np.float32)
        self.reasons_BK = np.zeros((rows, k), np.uint8)
        self.filled_B = np.zeros(rows, np.int64)

    def fill(self, sources: Sequence[Source], last: Sequence[Source]) -> None:
        """First within the caps, then beyond those that give way; in the end from what the model does not know."""
        soft = bool(self._caps.soft_G.any())
        diversity = self._catalogue.rules.diversity
        for among, diverse, over in ((sources, diversity, OVER_CAP), (last, None, BACKFILL)):
            for source in among:
                self._fill(source, self._caps.most_G, source.reason, diverse)
            for source in among if soft else []:
                self._fill(source, self._caps.hard_G, over, None)

    def mark_boosted(self) -> None:
        """The model's items that a boost has raised say so."""
        boosts_NZ, weights_BZ = self._catalogue.rules.boosts_NZ, self._subjects.weights_BZ
        if not boosts_NZ.shape[1]:
            return
        rows, places = np.nonzero(self.reasons_BK == MODEL)
        raised = np.einsum("ez,ez->e", boosts_NZ[self.items_BK[rows, places]], weights_BZ[rows]) > 0
        raised &= self.items_BK[rows, places] >= 0
        self.reasons_BK[rows[raised], places[raised]] = BOOSTED

    def _fill(self, source: Source, most_G: npt.NDArray[np.int32], reason: int, diversity: Diversity | None) -> None:
        k = self.items_BK.shape[1]
        rows = source.rows[self.filled_B[source.rows] < k]
        if not len(rows):
            return
        share, size = 0.0, 2 * k + 32 if len(most_G) else k
        if diversity:
            share, size = diversity.share, max(k, diversity.pool or 5 * k)
        left_out = joined(select_rows(self._subjects.left_out, rows), from_padded(self.items_BK[rows]))
        short, out = self._step(source, rows, left_out, size, most_G, reason, share)
        for left, without in _parts(short, out, max(1, _ENTRIES // max(1, len(source.index.items_ND)))):
            while len(left):
                without = joined(without, self._closed(left, most_G))
                left, without = self._step(source, left, without, size, most_G, reason, share)

    def _step(
        self,
        source: Source,
        rows: Ints,
        left_out: Csr,
        size: int,
        most_G: npt.NDArray[np.int32],
        reason: int,
        share: float,
    ) -> tuple[Ints, Csr]:
        """Whose lists are still short although there is more, and what not to ask for again."""
        pool_RP, scores_RP = self._top(source, rows, size, left_out)
        held = self.items_BK[rows], self.scores_BK[rows], self.reasons_BK[rows], self.filled_B[rows]
        groups = self._caps.groups_of
        pick(pool_RP, scores_RP, *groups, most_G, share, self._catalogue.units_ND, reason, *held)
        self.items_BK[rows], self.scores_BK[rows], self.reasons_BK[rows], self.filled_B[rows] = held
        short = np.flatnonzero((self.filled_B[rows] < self.items_BK.shape[1]) & (pool_RP[:, -1] >= 0))
        return rows[short], joined(select_rows(left_out, short), from_padded(pool_RP[short]))

    def _closed(self, rows: Ints, most_G: npt.NDArray[np.int32]) -> Csr:
        """The items of groups of which a list holds as many as it may; only caps leave lists short."""
        held = from_padded(self.items_BK[rows])
        per_item = select_rows(self._caps.groups_of, held[1])
        owners = np.repeat(np.repeat(np.arange(len(rows)), np.diff(held[0])), np.diff(per_item[0]))
        keys, counts = np.unique(owners * len(most_G) + per_item[1], return_counts=True)
        owners, groups = np.divmod(keys, len(most_G))
        full = counts >= most_G[groups]
        members = select_rows(self._caps.items_of, groups[full])
        lengths = np.bincount(owners[full], np.diff(members[0]), len(rows)).astype(np.int64)
        return np.concatenate([[0], np.cumsum(lengths)]), members[1]

    def _top(self, source: Source, rows: Ints, k: int, left_out: Csr) -> tuple[npt.NDArray[np.int32], Floats]:
        """The k best of each row, of those granted to it where it is limited."""
        users_RD = source.users_RD[np.searchsorted(source.rows, rows)]
        subject_RX, limited_R = self._subjects.subject_BX[rows], self._subjects.limited_B[rows]
        if not limited_R.any():
            return top_k(users_RD, source.index, k, left_out, memory_mib=self._memory_mib, subject_BX=subject_RX)
        items_RK, scores_RK = np.full((len(rows), k), -1, np.int32), np.full((len(rows), k), -np.inf, np.float32)
        free, limited = np.flatnonzero(~limited_R), np.flatnonzero(limited_R)
        if len(free):
            out, subject = select_rows(left_out, free), subject_RX[free]
            found = top_k(users_RD[free], source.index, k, out, memory_mib=self._memory_mib, subject_BX=subject)
            items_RK[free], scores_RK[free] = found
        granted = select_rows(self._subjects.granted, rows[limited])
        items_RK[limited], scores_RK[limited] = best_of(
            users_RD[limited], source.index, granted, k, select_rows(left_out, limited), subject_RX[limited]
        )
        return items_RK, scores_RK


def _parts(rows: Ints, csr: Csr, size: int) -> Iterator[tuple[Ints, Csr]]:
    """Blocks of so many rows."""
    for start in range(0, len(rows), size):
        places = np.arange(start, min(start + size, len(rows)))
        yield rows[places], select_rows(csr, places)
