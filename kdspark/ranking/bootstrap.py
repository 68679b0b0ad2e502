"""Poisson bootstrap over users (Chamandy et al., 2012): intervals and paired tests that never depend on partitioning.

Each user has, in each replicate, a weight drawn from Poisson(1) by a counter-based hash of (user_idx, replicate,
seed): the same weight wherever the user is computed, and the same for every model, which makes differences paired.
A replicate's estimate is a ratio, sum(w x) / sum(w), over the users for whom the metric is defined.

Sums are exact: values are rounded to multiples of 2**-30 and added as integers, so that any grouping of the users
gives the same bits.

Legend: B users, M metrics, R replicates; index 0 on an axis of R + 1 is the estimate itself (all weights 1).
"""

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from kdspark.ranking.hashing import splitmix64

Floats = npt.NDArray[np.float64]
Sums = npt.NDArray[np.int64]

LARGEST_VALUE = 256.0
_ONE = 2.0**30
_BLOCK = 4096  # |x| <= 2**8, weights <= 2**3, 2**12 rows: integers up to 2**53, which float64 products add exactly


class Interval(TypedDict):
    """An estimate with its interval; None where the metric is defined for nobody."""

    value: float | None
    low: float | None
    high: float | None


class Difference(TypedDict):
    """A paired difference of two models (a - b) with its interval and two-sided p-value."""

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None


def _poisson_table() -> npt.NDArray[np.uint8]:
    """Inverse Poisson(1) distribution function on 16 bits: weight = table[hash]. Weights stop at 8 (P > 8: 1e-6)."""
    ks = np.arange(9)
    upto = np.cumsum(np.exp(-1) / np.cumprod(np.maximum(ks, 1)))
    return np.searchsorted(upto[:-1], (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.uint8)


_TABLE = _poisson_table()


def poisson_weights(user_B: npt.NDArray[np.integer[Any]], replicates: int, seed: int) -> npt.NDArray[np.uint8]:
    """Weights [B, R] of users; four replicates share one 64-bit hash, 16 bits each."""
    blocks = np.arange(-(-replicates // 4))
    hashed = splitmix64(blocks[None, :], splitmix64(user_B, seed)[:, None])
    return np.asarray(_TABLE[hashed.astype("<u8").view("<u2")[:, :replicates]])


def weighted_sums(user_B: npt.NDArray[np.integer[Any]], values_BM: Floats, replicates: int, seed: int) -> Sums:
    """Sums to be added over parts of the users, in any order and grouping.

    Args:
        user_B: user_idx.
        values_BM: metrics; NaN where undefined for a user.

    Returns:
        int64 [2, R + 1, M]: sum of w * round(x * 2**30), and sum of w over users with a value.

    Raises:
        ValueError: a value exceeds `LARGEST_VALUE`, or is infinite.
    """
    defined_BM = ~np.isnan(values_BM)
    if (np.abs(values_BM[defined_BM]) > LARGEST_VALUE).any():
        raise ValueError(f"metric values beyond +-{LARGEST_VALUE} cannot be summed exactly")
    fixed_BM = np.rint(np.where(defined_BM, values_BM, 0) * _ONE)
    sums = np.zeros((2, replicates + 1, values_BM.shape[1]), np.int64)
    for start in range(0, len(user_B), _BLOCK):
        part = slice(start, start + _BLOCK)
        weights_RB = np.ones((replicates + 1, len(user_B[part])))
        weights_RB[1:] = poisson_weights(user_B[part], replicates, seed).T
        sums[0] += (weights_RB @ fixed_BM[part]).astype(np.int64)
        sums[1] += (weights_RB @ defined_BM[part].astype(np.float64)).astype(np.int64)
    return sums


def estimates(sums: Sums) -> Floats:
    """Means [R + 1, M]; NaN where nobody has a value."""
    total, weight = sums
    return np.divide(total / _ONE, weight, out=np.full(total.shape, np.nan), where=weight > 0)


def interval(estimates_R: Floats, confidence: float) -> Interval:
    """Percentile interval of one metric from its column of `estimates`."""
    if np.isnan(estimates_R[0]):
        return Interval(value=None, low=None, high=None)
    low, high = np.nanquantile(estimates_R[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=float(estimates_R[0]), low=float(low), high=float(high))


def difference(estimates_R: Floats, confidence: float) -> Difference:
    """Interval and p-value of a paired difference, from its column of `estimates`.

    p = 2 min(share of replicates <= 0, share >= 0), counting the estimate as one more replicate (Davison & Hinkley,
    1997, eq. 4.11), at most 1.
    """
    found = interval(estimates_R, confidence)
    replicates = estimates_R[1:][~np.isnan(estimates_R[1:])]
    p_value = None
    if found["value"] is not None:
        tail = min(int((replicates <= 0).sum()), int((replicates >= 0).sum()))
        p_value = min(1.0, 2 * (tail + 1) / (len(replicates) + 1))
    return Difference(difference=found["value"], low=found["low"], high=found["high"], p_value=p_value)
