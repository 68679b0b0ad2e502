"""Losses as pure functions of scores and vectors; the modules among them hold the parameters that a loss needs."""

from kdspark.distill.losses.catalogue import catalogue_log_sum
from kdspark.distill.losses.hint import ExpertHint, annealed
from kdspark.distill.losses.popularity import draw_group_pairs, pairwise_ranking, popularity_groups
from kdspark.distill.losses.ranking import (
    collaborative_distillation,
    collaborative_targets,
    discrepancy_weights,
    draw_by_rank,
    draw_interesting,
    estimated_ranks,
    position_weights,
    ranking_distillation,
    relaxed_ranking,
)
from kdspark.distill.losses.regularisers import confidence_penalty, score_consistency, vector_consistency
from kdspark.distill.losses.rejuvenated import closure_counts, draw_closure, rejuvenated_cross_entropy, within
from kdspark.distill.losses.softmax import (
    entropy,
    hard_cross_entropy,
    kl_divergence,
    mean_of_rows,
    normalised_cross_entropy,
    row_mean,
    sampled_cross_entropy,
    soft_cross_entropy,
)
from kdspark.distill.losses.topology import HierarchicalTopology, full_topology, hierarchical_topology

__all__ = [
    "ExpertHint",
    "HierarchicalTopology",
    "annealed",
    "catalogue_log_sum",
    "closure_counts",
    "collaborative_distillation",
    "collaborative_targets",
    "confidence_penalty",
    "discrepancy_weights",
    "draw_by_rank",
    "draw_closure",
    "draw_group_pairs",
    "draw_interesting",
    "entropy",
    "estimated_ranks",
    "full_topology",
    "hard_cross_entropy",
    "hierarchical_topology",
    "kl_divergence",
    "mean_of_rows",
    "normalised_cross_entropy",
    "pairwise_ranking",
    "popularity_groups",
    "position_weights",
    "ranking_distillation",
    "rejuvenated_cross_entropy",
    "relaxed_ranking",
    "row_mean",
    "sampled_cross_entropy",
    "score_consistency",
    "soft_cross_entropy",
    "vector_consistency",
    "within",
]
