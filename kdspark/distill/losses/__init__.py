"""Losses as pure functions of scores and vectors; the modules among them hold the parameters that a loss needs."""

from kdspark.distill.losses.softmax import (
    entropy,
    hard_cross_entropy,
    kl_divergence,
    row_mean,
    sampled_cross_entropy,
    soft_cross_entropy,
)

__all__ = [
    "entropy",
    "hard_cross_entropy",
    "kl_divergence",
    "row_mean",
    "sampled_cross_entropy",
    "soft_cross_entropy",
]
