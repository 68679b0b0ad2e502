"""Fitting item-item weights in closed form for catalogues whose square is too much to keep: EASE and GF-CF, pruned.

Rows of the weight matrix are computed a block at a time, and each keeps its largest weights. Of EASE, what must be in
memory is one dense inverse, of the smaller of items by items and users by users; of GF-CF, only its singular vectors.

Legend: U users, N items, E events, R rank, M rows of a block.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from tqdm import tqdm

from kdspark.config import EASEConfig, GFCFConfig
from kdspark.errors import ModelError

Floats = npt.NDArray[np.float32]
Rows = Callable[[int, int], Floats]
"""From the first row and the one after the last to what there is of these rows: dense [M, N], or a number each [M]."""

_BLOCK_FLOATS = 1 << 25
_OVERSAMPLED, _ITERATIONS = 64, 6
"""Of the subspace iteration: vectors beyond the rank, and passes."""


def interaction_matrix(
    blocks: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]], n_users: int, n_items: int
) -> sp.csr_matrix:
    """Binary CSR [U, N], float32, from blocks of events (user_idx [E], item_idx [E]); repeats count once."""
    users, items = zip(*blocks, strict=True)
    together = np.concatenate(users), np.concatenate(items)
    matrix = sp.csr_matrix((np.ones(len(together[0]), np.float32), together), shape=(n_users, n_items))
    matrix.data[:] = 1.0
    return matrix


def ease_weights(config: EASEConfig, matrix_UN: sp.csr_matrix, keep: int) -> sp.csr_matrix:
    """EASE (Steck, WWW'19), pruned: B_ij = -P_ij / P_jj, zero diagonal, P = (X'X + l2 I)^-1.

    With fewer users than items, P = (I - X' (X X' + l2 I)^-1 X) / l2 (Woodbury), so that the inverse is [U, U].

    Raises:
        ModelError: the matrix cannot be inverted in float32.
    """
    n_users, n_items = matrix_UN.shape
    if n_users >= n_items:
        inverse_NN = _inverse(matrix_UN.T @ matrix_UN, config.l2)
        return _pruned(lambda first, last: -inverse_NN[first:last], n_items, keep, 1.0 / inverse_NN.diagonal())
    inverse_UU = _inverse(matrix_UN @ matrix_UN.T, config.l2)
    by_item_NU = matrix_UN.T.tocsr()

    def product(first: int, last: int) -> Floats:
        """Rows of X' (X X' + l2 I)^-1 X, which is I - l2 P."""
        half_MU = by_item_NU[first:last] @ inverse_UU
        return np.ascontiguousarray((by_item_NU @ np.ascontiguousarray(half_MU.T)).T)

    def diagonal(first: int, last: int) -> Floats:
        """The diagonal of the same rows, [M]."""
        half_MU = by_item_NU[first:last] @ inverse_UU
        return np.asarray(by_item_NU[first:last].multiply(half_MU).sum(axis=1), np.float32).ravel()

    diagonal_N = np.concatenate([part for _, part in _blocks(diagonal, n_items, "ease: diagonal")])
    return _pruned(product, n_items, keep, 1.0 / np.maximum(1.0 - diagonal_N, np.finfo(np.float32).tiny))


def gfcf_weights(config: GFCFConfig, matrix_UN: sp.csr_matrix, keep: int, seed: int) -> sp.csr_matrix:
    """GF-CF (Shen et al., CIKM'21), pruned: W = R'R + alpha D^-1/2 V V' D^1/2, diagonal left out.

    R = D_u^-1/2 X D^-1/2 with the degrees of users and items, V its `rank` leading right singular vectors, found by
    randomised subspace iteration (Halko et al., SIAM Review 2011), as the spectrum of a log falls too slowly for
    Lanczos: where singular values are close, V is a mixture of their vectors, which filters alike.

    Raises:
        ModelError: the matrix is smaller than `rank`.
    """
    n_items = matrix_UN.shape[1]
    if config.rank >= min(matrix_UN.shape):
        raise ModelError(
            f"gfcf: `rank` {config.rank} is not below the {min(matrix_UN.shape)} users or items.", "Lower `rank`."
        )
    users_U, items_N = (np.maximum(np.asarray(matrix_UN.sum(axis), np.float32).ravel(), 1.0) for axis in (1, 0))
    normal_UN = (sp.diags(users_U**-0.5) @ matrix_UN @ sp.diags(items_N**-0.5)).tocsr().astype(np.float32)
    vectors_NR = _right_singular_vectors(normal_UN, config.rank, seed)
    left_NR, right_NR = vectors_NR * items_N[:, None] ** -0.5, vectors_NR * items_N[:, None] ** 0.5
    by_item_NU = normal_UN.T.tocsr()

    def rows(first: int, last: int) -> Floats:
        linear_MN = (by_item_NU[first:last] @ normal_UN).toarray()
        filtered: Floats = linear_MN + config.alpha * (left_NR[first:last] @ right_NR.T)
        return filtered

    return _pruned(rows, n_items, keep, np.ones(n_items, np.float32))


def _right_singular_vectors(matrix_UN: sp.csr_matrix, rank: int, seed: int) -> Floats:
    """The `rank` leading ones, [N, R]."""
    entries = matrix_UN.tocoo()
    places = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
    sparse_UN = torch.sparse_coo_tensor(
        places, torch.from_numpy(entries.data), entries.shape, check_invariants=False
    ).coalesce()
    width = min(rank + _OVERSAMPLED, *entries.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vectors_NR: Floats = torch.svd_lowrank(sparse_UN, q=width, niter=_ITERATIONS)[2][:, :rank].numpy()
    vectors_NR[matrix_UN.getnnz(axis=0) == 0] = 0.0  # exactly: an item without events has no weights
    return vectors_NR


def pruned_ease_bytes(n_users: int, n_items: int) -> int:
    """Least memory of `ease_weights`: a square matrix and its factor or inverse, float32."""
    return 2 * 4 * min(n_users, n_items) ** 2


def _inverse(gram: sp.csr_matrix, l2: float) -> Floats:
    dense = torch.from_numpy(gram.toarray().astype(np.float32, copy=False))
    dense.diagonal().add_(l2)
    factor, info = torch.linalg.cholesky_ex(dense)
    del dense
    if int(info) != 0:
        raise ModelError("EASE: the regularised Gram matrix is not positive definite in float32.", "Raise `l2`.")
    inverse = torch.cholesky_inverse(factor)
    # LAPACK answers in column order, which scipy would copy for every block; of a symmetric matrix it is the row order
    rows: Floats = (inverse if inverse.is_contiguous() else inverse.T).numpy()
    return rows


def _blocks(rows: Rows, n_items: int, title: str) -> Iterator[tuple[int, Floats]]:
    step = max(1, _BLOCK_FLOATS // max(1, n_items))
    for first in tqdm(range(0, n_items, step), desc=title, unit="block", mininterval=1.0):
        yield first, rows(first, min(first + step, n_items))


def _pruned(rows: Rows, n_items: int, keep: int, column_scale_N: npt.NDArray[np.floating[Any]]) -> sp.csr_matrix:
    """CSR of the `keep` largest magnitudes of each row of rows * column_scale, the diagonal left out."""
    keep = min(keep, max(1, n_items - 1))
    columns, values = [], []
    scale_N = column_scale_N.astype(np.float32)
    for first, block in _blocks(rows, n_items, "item weights"):
        block_MN = block * scale_N
        within = np.arange(len(block_MN))
        block_MN[within, within + first] = 0.0
        kept_MK = np.sort(np.argpartition(-np.abs(block_MN), keep - 1, axis=1)[:, :keep], axis=1)
        columns.append(kept_MK.astype(np.int32))
        values.append(np.take_along_axis(block_MN, kept_MK, axis=1))
    starts = np.arange(n_items + 1, dtype=np.int64) * keep
    weights = (np.concatenate(values).ravel(), np.concatenate(columns).ravel(), starts)
    pruned_NN = sp.csr_matrix(weights, shape=(n_items, n_items))
    pruned_NN.eliminate_zeros()
    return pruned_NN
