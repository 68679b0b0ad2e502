"""List columns of Arrow as numpy arrays, without a Python object per row.

Legend: B rows of a batch.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def ragged_lists(column: pa.ListArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A list<int> column as CSR (indptr [B+1], indices), both int64; null lists are empty."""
    lengths = np.asarray(column.value_lengths().fill_null(0), np.int64)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.asarray(column.flatten(), np.int64)
