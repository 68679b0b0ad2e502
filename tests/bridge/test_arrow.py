"""Record batches <-> arrays."""

import numpy as np
import pyarrow as pa
import pytest

from kdspark.bridge.arrow import compact_lists, fixed_lists, list_array


def batch_of(lists: list) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(lists, pa.list_(pa.int32()))], names=["x"])


def test_fixed_lists_also_of_a_slice() -> None:
    batch = batch_of([[1, 2], [3, 4], [5, 6]]).slice(1)
    assert fixed_lists(batch, "x", np.int64).tolist() == [[3, 4], [5, 6]]
    assert fixed_lists(batch_of([[], []]), "x", np.int64).shape == (2, 0)


@pytest.mark.parametrize("lists", [[[1, 2], [3]], [[1], None], [[1, 2, 3], [4]], [[None], [1]]])
def test_fixed_lists_refuses_other_lengths_and_nulls(lists: list) -> None:
    with pytest.raises(ValueError, match="'x'"):
        fixed_lists(batch_of(lists), "x", np.int64)


@pytest.mark.parametrize("shape", [(3, 2), (3, 0), (0, 4), (1, 1)])
def test_list_array_round_trip(shape: tuple[int, int]) -> None:
    values = np.arange(shape[0] * shape[1]).reshape(shape)
    assert list_array(values, pa.int32()).to_pylist() == values.tolist()


def test_compact_lists() -> None:
    values = np.array([[5, -1, 3], [-1, -1, -1]])
    assert compact_lists(values, values >= 0, pa.int32()).to_pylist() == [[5, 3], []]
