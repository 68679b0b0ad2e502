"""Counter-based hashing: published test vectors, chaining, uniformity."""

import numpy as np
from scipy import stats

from kdspark.ranking.hashing import splitmix64


def test_reference_sequence() -> None:
    """First outputs of SplitMix64 seeded with 1234567, as in the reference implementation's published vectors."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert splitmix64(np.arange(4), 1234567).tolist() == expected


def test_order_and_shape_do_not_matter() -> None:
    keys = np.arange(1000)
    shuffled = np.random.default_rng(0).permutation(keys)
    assert np.array_equal(splitmix64(keys, 5)[shuffled], splitmix64(shuffled, 5))
    assert np.array_equal(splitmix64(keys.reshape(10, 100), 5).ravel(), splitmix64(keys, 5))


def test_seed_arrays_chain_keys() -> None:
    users, slots = np.arange(50), np.arange(40)
    hashed = splitmix64(slots[None, :], splitmix64(users, 9)[:, None])
    assert hashed.shape == (50, 40)
    assert len(np.unique(hashed)) == 2000


def test_uniform_is_uniform() -> None:
    values = splitmix64(np.arange(20_000), 3).astype(np.float64) / 2.0**64
    assert values.min() >= 0
    assert values.max() < 1
    assert stats.kstest(values, "uniform").pvalue > 0.001
