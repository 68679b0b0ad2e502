"""Item lists of different lengths, one per user, as CSR: (indptr [B+1], item_idx).

Legend: B users, L list length.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kdspark.tables import PAD

Ints = npt.NDArray[np.int64]
Csr = tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.integer[Any]]]


def select_rows(csr: Csr, rows: npt.NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """The given rows."""
    indptr, indices = np.asarray(csr[0], np.int64), np.asarray(csr[1], np.int64)
    lengths = np.diff(indptr)[rows]
    ends = np.cumsum(lengths)
    places = np.arange(lengths.sum()) + np.repeat(indptr[rows] - (ends - lengths), lengths)
    return np.concatenate([[0], ends]), indices[places]


def pad_to(csr: Csr, rows: int) -> tuple[Ints, Ints]:
    """Empty lists appended up to so many rows."""
    indptr, indices = np.asarray(csr[0], np.int64), np.asarray(csr[1], np.int64)
    return np.concatenate([indptr, np.full(rows + 1 - len(indptr), indptr[-1])]), indices


def from_padded(items_BL: npt.NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """Lists of an array; PAD is no entry."""
    present_BL = items_BL != PAD
    return np.concatenate([[0], np.cumsum(present_BL.sum(axis=1))]), items_BL[present_BL].astype(np.int64)


def joined(one: Csr, other: Csr) -> tuple[Ints, Ints]:
    """Each row's list of the one, then that of the other."""
    counts = np.stack([np.diff(one[0]), np.diff(other[0])], axis=1)
    rows = np.concatenate([np.repeat(np.arange(len(counts)), counts[:, part]) for part in (0, 1)])
    items = np.concatenate([_entries(one), _entries(other)])
    return np.concatenate([[0], np.cumsum(counts.sum(axis=1))]), items[np.argsort(rows, kind="stable")]


def earliest(csr: Csr, width: int) -> Ints:
    """The first `width` entries of each list [B, width], padded on the right."""
    rows, from_start, _ = _places(csr)
    return _padded(csr, width, rows, from_start, from_start)


def latest(csr: Csr, width: int) -> Ints:
    """The last `width` entries of each list [B, width], padded on the left."""
    rows, _, from_end = _places(csr)
    return _padded(csr, width, rows, from_end, width - 1 - from_end)


def contains(csr: Csr, items_BL: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """bool [B, L]: which of a row's own items are in its list."""
    listed = _entries(csr)
    if not len(listed) or not items_BL.size:
        return np.zeros(items_BL.shape, np.bool_)
    width = 2 + max(int(listed.max()), int(items_BL.max()))  # PAD and every item have a key of their own
    rows = np.arange(len(items_BL), dtype=np.int64)
    keys = np.sort(np.repeat(rows, np.diff(csr[0])) * width + listed + 1)
    wanted_BL = rows[:, None] * width + items_BL + 1
    found_BL = np.minimum(np.searchsorted(keys, wanted_BL), len(keys) - 1)
    return np.asarray(keys[found_BL] == wanted_BL)


def _entries(csr: Csr) -> Ints:
    """Those of all rows: a CSR may be part of a larger one."""
    return np.asarray(csr[1][csr[0][0] : csr[0][-1]], np.int64)


def _places(csr: Csr) -> tuple[Ints, Ints, Ints]:
    """Of each entry its row, and how many of the row's stand before it and behind it."""
    lengths = np.diff(csr[0])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    before = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows, before, np.repeat(lengths, lengths) - 1 - before


def _padded(csr: Csr, width: int, rows: Ints, rank: Ints, columns: Ints) -> Ints:
    """Entries of a rank below `width` at their columns, PAD elsewhere."""
    items_BL = np.full((len(csr[0]) - 1, width), PAD, np.int64)
    kept = rank < width
    items_BL[rows[kept], columns[kept]] = _entries(csr)[kept]
    return items_BL
