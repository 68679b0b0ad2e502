"""Lists under rules in a worker: what the rules' file and a row's columns say, put together for a batch of users.

Legend: B users of a batch, K list length.
"""

import functools
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdspark import tables
from kdspark.bridge.rules import load_rules
from kdspark.bridge.scoring import RankTask, vectors_of
from kdspark.bridge.shipping import Shipped
from kdspark.errors import ConfigError
from kdspark.ranking.ragged import Csr, joined
from kdspark.ranking.ruled import Catalogue
from kdspark.ranking.rules import Rules, Subjects, of_segments
from kdspark.spark.lists import ragged_lists
from kdspark.spark.rule_users import DENIED, GRANTED, SEGMENT


@dataclass(frozen=True)
class RuledTask:
    """What runs in a worker; small to ship: model and rules come by file.

    Args:
        rules: names of the shipped files.
    """

    rank: RankTask
    rules: tuple[str, ...]

    def lists(
        self, batch: pa.RecordBatch
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Items, scores and reasons [B, K] of at most `batch_size` users, these as places in `tables.REASONS`."""
        rank, catalogue = self.rank, _catalogue(self.rank.shipped, self.rules)
        _, users, answers, known_B = rank.encoded(batch)
        encoded, rows = perf_counter(), batch.num_rows
        subjects = self._subjects(batch, catalogue.rules, users)
        without = ConfigError("`scoring.rules` need a student with vectors.", "Choose another student, or no rules.")
        vectors_BD = vectors_of(answers, without)[:rows]
        lists = catalogue.lists(vectors_BD, known_B[:rows], subjects, rank.k, rank.memory_mib)
        rank.timing.score.add(perf_counter() - encoded)
        return lists.items_BK, lists.scores_BK, lists.reasons_BK

    def _subjects(self, batch: pa.RecordBatch, rules: Rules, users: Any) -> Subjects:
        rows = batch.num_rows
        nothing = np.zeros(rows + 1, np.int64), np.empty(0, np.int64)
        seen = self.rank.seen(batch, users)
        left_out = nothing if seen is None else (seen[0][: rows + 1], seen[1])
        if tables.RULE not in batch.schema.names:
            return Subjects(*of_segments(rules, nothing), left_out, nothing, np.zeros(rows, np.bool_))
        of_user, of_rule = (ragged_lists(batch.column(name)) for name in (tables.RULE_VALUE, tables.RULE))
        segments, denied, granted = (_where(of_user, of_rule[1] == kind) for kind in (SEGMENT, DENIED, GRANTED))
        limited_B = np.diff(granted[0]) > 0
        return Subjects(*of_segments(rules, segments), joined(left_out, denied), granted, limited_B)


def _where(csr: Csr, kept: npt.NDArray[np.bool_]) -> Csr:
    """Some entries of lists."""
    counts = np.concatenate([[0], np.cumsum(kept)])
    return counts[csr[0]], csr[1][kept]


@functools.lru_cache(maxsize=2)
def _catalogue(shipped: Shipped, names: tuple[str, ...]) -> Catalogue:
    serving, rules = shipped.load(), load_rules(names)
    items_ND = np.ascontiguousarray(serving.items_ND.float().numpy())
    return Catalogue(items_ND, serving.allowed_N_numpy, serving.popularity_share_N, rules)
