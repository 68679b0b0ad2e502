"""Counter-based hashing: random numbers that depend on keys alone, not on order, partition or process."""

from typing import Any

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def splitmix64(keys: npt.ArrayLike, seed: Any = 0) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea & Flood, OOPSLA'14) of integer keys under a seed.

    Args:
        keys: integers of any shape; negative ones count modulo 2**64.
        seed: an integer, or an array that broadcasts with `keys` (to chain several keys).

    Returns:
        uint64, uniform over all 64 bits; broadcast shape of keys and seed.
    """
    with np.errstate(over="ignore"):
        start = np.asarray(seed).astype(np.uint64) if np.ndim(seed) else np.uint64(int(seed) % (1 << 64))
        z = (np.asarray(keys).astype(np.uint64) + np.uint64(1)) * _GOLDEN + start
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)
