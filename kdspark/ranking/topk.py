"""Exact top-k by inner product: tiled matrix products, and a look at the few scores that may still matter.

The one kernel behind soft labels, evaluation and nightly scoring. A user's limit, the least score that can still be
among the k best, lies above nearly all of a tile: one comparison discards them, and what passes goes to a reservoir
(`kdspark.ranking.compiled`), which raises the limit whenever it is full.

Exactness. Products are first computed roughly, in bfloat16 where the processor has it, else in float32, which BLAS
rounds differently in matrices of different shapes, on different processors, and on some even in different rows of one
matrix. How far such a score can be off is bounded (`kdspark.ranking.index`, `kdspark.ranking.products`); what by that
bound may belong into the list is scored again in float64, rounded once, and ordered by that. Users whose scores lie too
close together for it (equal items at the end of a list, say) are scanned again in float32, and then in float64. A
user's list therefore depends neither on who shares the call nor on the machine. User vectors that come out of a network
need the same care: encode batches of one fixed size.

Measured (`scripts/bench topk`, 2 cores of Zen 4, k = 100): 1.3 times the processor time of the float32 product of the
same tiles alone at 50,000 x 20,000 x 64; 0.2 to 0.8 of the time of faiss' IndexFlatIP, 0.3 to 0.5 of implicit's kernel.
The same in NumPy alone took 6 times the product; float32 products in place of bfloat16 would cost 0.6 of it on top.

Legend: B users, T users of a tile, N items, M allowed items, W items of a tile, D dims, K list length, X words of
64 lists.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kdspark.errors import ModelError
from kdspark.ranking.compiled import LOWEST, candidate_keys, collect, decode, first_limits, shrink, withhold
from kdspark.ranking.index import Columns, ItemIndex, require_finite
from kdspark.ranking.ragged import Csr, select_rows
from kdspark.ranking.tiles import USER_TILE, Exact, Given, Halves, Products, Source, tile_width, tiles

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

_GROUPS, _CAPACITY = 128, 256  # at least
_BINS = 128
_ROW_BITS = (USER_TILE - 1).bit_length()
_MANY_USERS = 64
_FEW_DIMS = 4  # products of so few cost next to nothing in float64
_LARGEST = 1e38  # of a product; above it float32 may overflow on the way
_MISMATCH = "Check that the model folder and the tables belong together."


def top_k(
    users_BD: npt.NDArray[np.floating[Any]],
    items: npt.NDArray[np.floating[Any]] | ItemIndex,
    k: int,
    seen: Csr | None = None,
    allowed_N: npt.NDArray[np.bool_] | None = None,
    memory_mib: int = 256,
    threads: int = 1,
    subject_BX: Words | None = None,
) -> tuple[Ints, Floats]:
    """The k best items of every user by users_BD @ items_ND.T, exact to the last bit of float32.

    Args:
        users_BD: vectors, taken as float32.
        items: vectors [N, D], taken as float32, or an index of them, which spares their preparation.
        k: list length, at least 1; may exceed N.
        seen: items to leave out per user, as CSR (indptr [B+1], item_idx in any order); entries outside [0, N) are
            ignored. Costs time in proportion to its length only.
        allowed_N: False leaves an item out for everyone; an index has been told.
        memory_mib: bound of a thread's score tile.
        threads: that share the users.
        subject_BX: the lists of the index (`withheld_NX`) that each user is subject to; None: none. A list costs next
            to nothing, however many items it withholds: only candidates are looked up.

    Returns:
        items_BK int32, best first, ties by smaller item_idx, padded with -1 where fewer items remain;
        scores_BK float32, inner products rounded once, padded with -inf.

    Raises:
        ModelError: a vector or a score is not finite, or the shapes do not fit.
    """
    users_BD = np.ascontiguousarray(users_BD, np.float32)
    index = items if isinstance(items, ItemIndex) else _index(items, len(users_BD), allowed_N)
    _check(users_BD, index, k, seen, subject_BX)
    items_BK, scores_BK = _nothing(len(users_BD), k)
    left = np.arange(len(users_BD))
    for kind in _kinds(users_BD, index):
        some_BD, rest, subject = users_BD, seen, subject_BX
        if len(left) < len(users_BD):
            some_BD, rest = users_BD[left], None if seen is None else select_rows(seen, left)
            subject = None if subject_BX is None else subject_BX[left]
        withheld = None if subject is None else (subject, index.withheld_MX)
        scan = _Scan(kind(some_BD, index), k, rest, index.columns, memory_mib, (some_BD, index.allowed_MD), withheld)
        items_BK[left], scores_BK[left], vague_B = scan.run(threads)
        left = left[vague_B]
        if not len(left):
            break
    return items_BK, scores_BK


def top_k_of_scores(
    scores_BN: npt.NDArray[np.floating[Any]],
    k: int,
    seen: Csr | None = None,
    allowed_N: npt.NDArray[np.bool_] | None = None,
    memory_mib: int = 256,
    threads: int = 1,
) -> tuple[Ints, Floats]:
    """The k best items of every user by scores that are no inner products, taken as float32; otherwise as `top_k`."""
    scores_BN = np.ascontiguousarray(scores_BN, np.float32)
    _check_masks(len(scores_BN), scores_BN.shape[1], k, seen, allowed_N)
    require_finite("row of scores", scores_BN)
    columns = Columns(scores_BN.shape[1], allowed_N)
    items_BK, scores_BK, _ = _Scan(Given(scores_BN, columns), k, seen, columns, memory_mib).run(threads)
    return items_BK, scores_BK


def _kinds(users_BD: Floats, index: ItemIndex) -> list[Callable[[Floats, ItemIndex], Source]]:
    """From the roughest scores to exact ones."""
    largest = float(np.abs(users_BD).max(initial=0.0)) * index.largest * max(1, index.dims)
    if index.dims < _FEW_DIMS or largest > _LARGEST:
        return [Exact]
    return [Products, Exact] if index.halves_MD is None else [Halves, Products, Exact]


class _Scan:
    """One pass of some users over all items.

    Args:
        vectors: of the users and of the items, to score candidates by whose scores are not exact.
        lists: those that users are subject to, and those that withhold items.
    """

    def __init__(
        self,
        source: Source,
        k: int,
        seen: Csr | None,
        columns: Columns,
        memory_mib: int,
        vectors: tuple[Floats, Floats] | None = None,
        lists: tuple[Words, Words] | None = None,
    ) -> None:
        self.source, self.k, self.columns = source, k, columns
        self.seen = None if seen is None else (np.asarray(seen[0], np.int64), np.asarray(seen[1]))
        self.users_BD, self.items_MD = vectors or (np.empty((source.n_users, 0), np.float32),) * 2
        none = (np.empty((source.n_users, 0), np.uint64), np.empty((source.n_items, 0), np.uint64))
        self.subject_BX, self.withheld_MX = lists or none
        self.width = tile_width(source, memory_mib)
        self.groups = min(self.width, max(_GROUPS, 5 * k // 2))
        self.capacity = max(_CAPACITY, 3 * k)
        self.items_BK, self.scores_BK = _nothing(source.n_users, k)
        self.vague_B = np.zeros(source.n_users, np.bool_)
        self._own = threading.local()

    def run(self, threads: int) -> tuple[Ints, Floats, npt.NDArray[np.bool_]]:
        """Items and scores [B, K], and for whom the scores are too close together to tell, who have no list."""
        starts = range(0, self.source.n_users, USER_TILE)
        if threads == 1 or len(starts) == 1:
            for start in starts:
                self._tile(start)
        else:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(self._tile, starts))
        return self.columns.items(self.items_BK), self.scores_BK, self.vague_B

    def _tile(self, start: int) -> None:
        source, own = self.source, self._buffers()
        users = slice(start, min(start + USER_TILE, source.n_users))
        rows = users.stop - start
        filled_T, limits_T = np.zeros(rows, np.int64), np.full(rows, LOWEST, np.float32)
        held = own.scores[:rows], own.items[:rows], filled_T, limits_T
        rule = source.error_B[users], source.relative, source.exact
        seen, subject_TX = _SeenTile(self.seen, users, self.columns), self.subject_BX[users]
        lists = subject_TX, self.withheld_MX
        for first, tile_TW in tiles(source, self.width, users, own.tile):
            source.masked(tile_TW, *seen.within(first, first + tile_TW.shape[1]))
            if first == 0 and self.groups >= self.k:
                if subject_TX.any():  # a limit comes from items that may be in the list
                    withhold(tile_TW, first, *lists, source.nothing, np.lexsort(subject_TX.T))
                first_limits(source.maxima(tile_TW, self.groups), self.k, *rule, limits_T, own.counts)
            above_TW = own.above[: tile_TW.size].reshape(tile_TW.shape)
            source.reaching(tile_TW, limits_T, above_TW)
            words = tile_TW.view(np.uint16)
            parts = words.shape[1] // tile_TW.shape[1]
            collect(_packed(above_TW), words, parts, first, self.k, *rule, *held, own.scratch, own.counts, *lists)
        shrink(self.k, *rule, *held, own.scratch, own.counts)
        self.vague_B[users] = np.isinf(limits_T)
        keys_TC = own.keys[:rows, : max(self.k, int(filled_T.max()))]
        candidate_keys(self.users_BD[users], self.items_MD, source.exact, *held[:3], keys_TC)
        self.items_BK[users], self.scores_BK[users] = decode(np.sort(keys_TC, axis=1)[:, : self.k])

    def _buffers(self) -> threading.local:
        """Those of this thread."""
        own = self._own
        if not hasattr(own, "tile"):
            own.tile = np.empty(USER_TILE * self.width, self.source.dtype)
            own.above = np.empty(USER_TILE * self.width, np.bool_)
            own.scores = np.empty((USER_TILE, self.capacity), np.float32)
            own.items = np.empty((USER_TILE, self.capacity), np.int32)
            own.keys = np.empty((USER_TILE, self.capacity), np.uint64)
            own.scratch = np.empty(self.capacity, np.float32)
            own.counts = np.empty(_BINS, np.int32)
        return own


def _packed(above_TW: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Words of 64 bits, the first item the lowest."""
    bytes_TX = np.packbits(above_TW, axis=1, bitorder="little")
    missing = -bytes_TX.shape[1] % 8
    return (np.pad(bytes_TX, ((0, 0), (0, missing))) if missing else bytes_TX).view(np.uint64)


def _nothing(rows: int, k: int) -> tuple[Ints, Floats]:
    return np.full((rows, k), -1, np.int32), np.full((rows, k), -np.inf, np.float32)


class _SeenTile:
    """The seen items of a tile's users, in order of item, so that each tile of items finds its own at once."""

    def __init__(self, seen: Csr | None, users: slice, columns: Columns) -> None:
        self._columns = self._rows = np.empty(0, np.int64)
        if seen is None:
            return
        bounds = np.asarray(seen[0][users.start : users.stop + 1], np.int64)
        places = columns.places(seen[1][bounds[0] : bounds[-1]])
        rows = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        keys = np.sort((places << _ROW_BITS | rows)[places >= 0])  # numbers sort several times as fast as their order
        self._columns, self._rows = keys >> _ROW_BITS, keys & (USER_TILE - 1)

    def within(self, first: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(rows, columns of the tile) of those in [first, stop)."""
        part = slice(*np.searchsorted(self._columns, [first, stop]))
        return self._rows[part], self._columns[part] - first


def _index(items: npt.NDArray[Any], n_users: int, allowed_N: npt.NDArray[np.bool_] | None) -> ItemIndex:
    """One for a single call: a look at bfloat16 pays where there are enough users."""
    items_ND = np.ascontiguousarray(items, np.float32)
    if items_ND.ndim != 2:
        raise ModelError(f"Item vectors have the shape {items_ND.shape}.", _MISMATCH)
    _check_masks(0, len(items_ND), 1, None, allowed_N)
    return ItemIndex(items_ND, allowed_N, None if n_users >= _MANY_USERS else False)


def _check(users_BD: Floats, index: ItemIndex, k: int, seen: Csr | None, subject_BX: Words | None) -> None:
    if users_BD.ndim != 2 or users_BD.shape[1] != index.dims:
        raise ModelError(f"User vectors {users_BD.shape} do not fit item vectors {index.items_ND.shape}.", _MISMATCH)
    _check_masks(len(users_BD), len(index.items_ND), k, seen, None)
    if subject_BX is not None and subject_BX.shape != (len(users_BD), index.withheld_MX.shape[1]):
        raise ModelError(f"Lists {subject_BX.shape} do not fit those of items {index.withheld_MX.shape}.", _MISMATCH)
    require_finite("user vector", users_BD)


def _check_masks(n_users: int, n_items: int, k: int, seen: Csr | None, allowed_N: npt.NDArray[np.bool_] | None) -> None:
    if k < 1:
        raise ModelError(f"k is {k}.", "Ask for at least one item per user.")
    if seen is not None and (len(seen[0]) != n_users + 1 or len(seen[1]) < seen[0][-1]):
        raise ModelError(f"Seen items of {len(seen[0]) - 1} users given for {n_users} users.", _MISMATCH)
    if allowed_N is not None and allowed_N.shape != (n_items,):
        raise ModelError(f"A mask {allowed_N.shape} of allowed items given for {n_items} items.", _MISMATCH)
