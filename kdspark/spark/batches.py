"""Arrow batches of a size of one's own."""

from collections.abc import Iterable, Iterator

import pyarrow as pa


def rebatch(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """Slices of exactly `size` rows (the last may be shorter), whatever Arrow's own batch size is."""
    pending: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        pending.append(batch)
        rows += batch.num_rows
        while rows >= size:
            table = pa.Table.from_batches(pending).combine_chunks()
            yield table.slice(0, size).to_batches()[0]
            pending = table.slice(size).to_batches()
            rows -= size
    if rows:
        yield pa.Table.from_batches(pending).combine_chunks().to_batches()[0]
