"""Batches of a size of one's own hold the rows of the given ones, in their order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kdspark.bridge.arrow import fixed_lists
from kdspark.spark.batches import rebatch
from tests.bridge.test_arrow import batch_of


@given(sizes=st.lists(st.integers(0, 7), max_size=6), size=st.integers(1, 5))
def test_rebatch_keeps_rows_and_order(sizes: list[int], size: int) -> None:
    total = sum(sizes)
    table = batch_of([[row] for row in range(total)])
    starts = np.cumsum([0, *sizes])
    pieces = list(rebatch((table.slice(a, n) for a, n in zip(starts, sizes, strict=False)), size))
    assert [piece.num_rows for piece in pieces[:-1]] == [size] * max(0, len(pieces) - 1)
    rows = [row for piece in pieces for row in fixed_lists(piece, "x", np.int64)[:, 0].tolist()]
    assert rows == list(range(total))
