"""Shuffling and cutting a stream of column chunks, in bounded memory and without any global random state.

A chunk is a dict of arrays with one common first dimension (rows).
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Chunk = dict[str, npt.NDArray[np.generic]]


def rows_of(chunk: Chunk) -> int:
    """Number of rows of a chunk."""
    return len(next(iter(chunk.values())))


def shuffled(chunks: Iterable[Chunk], capacity: int, rng: np.random.Generator) -> Iterator[Chunk]:
    """The same rows in another order, through a buffer of about `capacity` rows.

    Whenever the buffer is full it is permuted as a whole and one half of it leaves, so a row moves twice on average.
    A stream of at most `capacity` rows is permuted uniformly.

    Args:
        chunks: column chunks; memory is bounded by `capacity` plus the largest chunk.
        capacity: rows held back for mixing.
        rng: decides the order; equal generators and chunks give equal output.
    """
    pool: list[Chunk] = []
    rows = 0
    for chunk in chunks:
        pool.append(chunk)
        rows += rows_of(chunk)
        if rows > capacity:
            mixed = _permuted(joined(pool), rng)
            leaving = (rows + 1) // 2
            yield _slice(mixed, 0, leaving)
            pool = [_slice(mixed, leaving, rows)]
            rows -= leaving
    if rows:
        yield _permuted(joined(pool), rng)


def permuted(chunk: Chunk, size: int, rng: np.random.Generator) -> Iterator[Chunk]:
    """All rows of a chunk in another order, uniformly drawn, `size` at a time; the last part may be shorter.

    The chunk itself stays as it is, and no second one is made.
    """
    order = rng.permutation(rows_of(chunk))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield {name: values[part] for name, values in chunk.items()}


def joined(chunks: list[Chunk]) -> Chunk:
    """The rows of some chunks, at least one, in one; of a single one that itself."""
    if len(chunks) == 1:
        return chunks[0]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def rebatched(chunks: Iterable[Chunk], size: int) -> Iterator[Chunk]:
    """Slices of exactly `size` rows in the order given; the last one may be shorter."""
    pending: list[Chunk] = []
    rows = 0
    for chunk in chunks:
        pending.append(chunk)
        rows += rows_of(chunk)
        if rows < size:
            continue
        whole = joined(pending)
        full = rows - rows % size
        for start in range(0, full, size):
            yield _slice(whole, start, start + size)
        pending, rows = [_slice(whole, full, rows)], rows - full
    if rows:
        yield joined(pending)


def _permuted(chunk: Chunk, rng: np.random.Generator) -> Chunk:
    order = rng.permutation(rows_of(chunk))
    return {name: values[order] for name, values in chunk.items()}


def _slice(chunk: Chunk, start: int, stop: int) -> Chunk:
    return {name: values[start:stop] for name, values in chunk.items()}
