"""How far a distribution has moved from one night to the next."""

import math
from collections.abc import Mapping

_HALF = 0.5  # of a row, in every bin: an empty one would make the index infinite


def psi(before: Mapping[str, int], now: Mapping[str, int]) -> float | None:
    """Population stability index: the sum over bins of (q - p) ln(q / p), with p and q the shares before and now.

    It is the symmetric Kullback-Leibler divergence (Jeffreys 1946) of binned data, known by this name from credit
    scoring (Siddiqi, Credit Risk Scorecards, 2006), where below 0.1 counts as stable, above 0.25 as a shift; Yurdakul
    and Naranjo (Journal of Risk Model Validation, 2020) say how it spreads by chance: about (bins - 1)(1/n + 1/m).

    Args:
        before, now: counts by bin. Half a row is added to each bin that either has.

    Returns:
        0 or more; None where either is empty.
    """
    if not sum(before.values()) or not sum(now.values()):
        return None
    bins = sorted(before.keys() | now.keys())
    shares_p, shares_q = _shares(before, bins), _shares(now, bins)
    return sum((q - p) * math.log(q / p) for p, q in zip(shares_p, shares_q, strict=True))


def _shares(counts: Mapping[str, int], bins: list[str]) -> list[float]:
    total = sum(counts.values()) + _HALF * len(bins)
    return [(counts.get(name, 0) + _HALF) / total for name in bins]
