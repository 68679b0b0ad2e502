"""Arrow record batches <-> numpy arrays and model batches, without a Python object per row.

Legend: B rows of a record batch, L fixed list length.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdspark import tables
from kdspark.models.batch import UserBatch

USER_COLUMNS = [tables.USER_IDX, tables.HISTORY, tables.CODES, tables.NUMBERS, tables.VECTOR]


def fixed_lists(batch: pa.RecordBatch, column: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A list column whose lists all have one length, as an array [B, L].

    Raises:
        ValueError: the lengths differ, or an entry is null.
    """
    array = batch.column(column)
    flat = array.flatten()
    rows = len(array)
    if rows == 0:
        return np.empty((0, 0), dtype)
    if array.null_count or flat.null_count or len(flat) % rows:
        raise ValueError(f"column {column!r} is not of fixed length without nulls")
    length = len(flat) // rows
    offsets = np.asarray(array.offsets)
    if not np.array_equal(np.diff(offsets), np.full(rows, length)):
        raise ValueError(f"column {column!r} holds lists of different lengths")
    return np.asarray(flat.to_numpy(zero_copy_only=False), dtype).reshape(rows, length)


def list_array(values_BL: npt.NDArray[Any], arrow_type: pa.DataType) -> pa.ListArray:
    """An array [B, L] as a list column."""
    rows, length = values_BL.shape
    offsets = pa.array(np.arange(0, (rows + 1) * length, length or 1, dtype=np.int32)[: rows + 1], pa.int32())
    if length == 0:
        offsets = pa.array(np.zeros(rows + 1, np.int32), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values_BL).ravel(), arrow_type))


def compact_lists(values_BL: npt.NDArray[Any], keep_BL: npt.NDArray[np.bool_], arrow_type: pa.DataType) -> pa.ListArray:
    """The kept entries of each row as a list column of varying length, order unchanged."""
    offsets = np.concatenate([[0], np.cumsum(keep_BL.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values_BL[keep_BL], arrow_type))


def user_batch(batch: pa.RecordBatch) -> UserBatch:
    """The model's input from rows of `users`, `examples` or `soft_labels`."""
    return UserBatch.from_numpy(
        user_idx=np.asarray(batch.column(tables.USER_IDX), np.int64),
        history=fixed_lists(batch, tables.HISTORY, np.int64),
        codes=fixed_lists(batch, tables.CODES, np.int64),
        numbers=fixed_lists(batch, tables.NUMBERS, np.float32),
        vector=fixed_lists(batch, tables.VECTOR, np.float32),
    )
