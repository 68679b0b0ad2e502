"""Lists that withhold items, as the kernel wants them."""

import numpy as np


def words(bits_RL):
    """Bits of lists [R, L] as words [R, X], list i being bit i % 64 of word i // 64."""
    rows, lists = bits_RL.shape
    padded = np.zeros((rows, -(-lists // 64) * 64), bool)
    padded[:, :lists] = bits_RL
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
