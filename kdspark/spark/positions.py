"""From a user's latest items to training positions, as arrays: no column expression per item, no object per row.

What Spark's expressions make of an array is boxed item by item; here a history is a window onto the user's items.

Legend: U users of a block, R items kept of each, B rows (positions), L history length, T targets.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from kdspark import tables

_ROWS = 1 << 15  # made at once, at most, where no user alone has more
_FEATURES = (tables.CODES, tables.NUMBERS, tables.VECTOR)


@dataclass(frozen=True)
class Positions:
    """Which rows of table "examples" a user has; see `ExamplesConfig`.

    Attributes:
        most: positions per user, or None for a set: one row, whose history and targets are the latest items.
        history, targets: lengths L and T.
    """

    most: int | None
    history: int
    targets: int

    @property
    def reach(self) -> int:
        """R: how many of a user's latest items the rows are made of."""
        return self.history + (self.targets if self.most is None else self.most)

    def rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows of table "examples", users and positions in the order given and ascending.

        Args:
            batches: (user_idx, n_events, history, codes, numbers, vector); a row per user with events, histories of
                length R, oldest first, padded on the left.
        """
        users = max(1, _ROWS // (self.most or 1))
        for batch in batches:
            for start in range(0, batch.num_rows, users):
                yield self._rows_of(batch.slice(start, users))

    def _rows_of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        n_U = np.asarray(batch.column(tables.N_EVENTS), np.int64)
        user_B, position_B, next_B = self._latest(n_U) if self.most is None else self._each(n_U)
        items_UR = np.asarray(batch.column(tables.HISTORY).flatten(), np.int32).reshape(len(n_U), self.reach)
        padded = np.pad(items_UR, ((0, 0), (0, self.targets)), constant_values=tables.PAD)
        history_BL = sliding_window_view(padded, self.history, axis=1)[
            user_B, (self.reach if self.most is None else next_B) - self.history
        ]
        targets_BT = sliding_window_view(padded, self.targets, axis=1)[user_B, next_B]
        users = pa.array(user_B)
        columns = [
            batch.column(tables.USER_IDX).take(users),
            pa.array(position_B.astype(np.int32)),
            _lists(history_BL),
            _lists(targets_BT),
            *(batch.column(name).take(users) for name in _FEATURES),
        ]
        return pa.RecordBatch.from_arrays(columns, tables.columns("examples"))

    def _each(self, n_U: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        """(user, position, place of its item among R) of each row: positions p >= 1, the latest `most`.

        A place is never nearer to the first than L, since R = L + most.
        """
        assert self.most is not None
        first_U = np.maximum(1, n_U - self.most)
        count_U = n_U - first_U
        user_B = np.repeat(np.arange(len(n_U)), count_U)
        position_B = np.arange(len(user_B)) - np.repeat(np.cumsum(count_U) - count_U - first_U, count_U)
        return user_B, position_B, self.reach - n_U[user_B] + position_B

    def _latest(self, n_U: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        """The same for sets: one row per user, position 0; the place is that of the first target."""
        users = len(n_U)
        return np.arange(users), np.zeros(users, np.int64), self.reach - np.minimum(n_U, self.targets)


def _lists(values_BL: npt.NDArray[np.int32]) -> pa.ListArray:
    rows, length = values_BL.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(length)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values_BL.reshape(-1)))
