"""List columns against their own Python objects."""

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from kdspark.spark.lists import ragged_lists

LISTS = st.lists(st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4), max_size=8)


def test_ragged_lists_with_nulls_and_slices() -> None:
    column = pa.array([[9], [1, 2], None, [], [3]], pa.list_(pa.int32())).slice(1)
    indptr, indices = ragged_lists(column)
    assert indptr.tolist() == [0, 2, 2, 2, 3]
    assert indices.tolist() == [1, 2, 3]


@given(lists=LISTS, start=st.integers(0, 8))
def test_every_row_is_found_again_between_its_bounds(lists: list, start: int) -> None:
    indptr, indices = ragged_lists(pa.array(lists, pa.list_(pa.int32())).slice(start))
    assert indptr.dtype == indices.dtype == "int64"
    found = [indices[low:high].tolist() for low, high in pairwise(indptr)]
    assert found == [row or [] for row in lists[start:]]
