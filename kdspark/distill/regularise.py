"""The regularisers of a training, as parts of its loss.

Legend: B users, P positions, N items, S sampled items, D dims.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from kdspark.config import ConsistencyConfig, TrainingConfig
from kdspark.distill.augment import augmented
from kdspark.distill.batches import CONFIDENCE, CONSISTENCY
from kdspark.distill.losses import confidence_penalty, score_consistency, vector_consistency
from kdspark.distill.scores import sample_items
from kdspark.models.batch import UserBatch
from kdspark.models.gather import rows_of
from kdspark.models.recommender import Recommender


def regularisers(
    model: Recommender,
    users: UserBatch,
    vectors_PD: Tensor,
    items_ND: Tensor,
    scores_PN: Tensor | None,
    training: TrainingConfig,
) -> Iterator[tuple[str, float, Tensor]]:
    """(name, weight, loss) of those that are switched on.

    Args:
        users: whose histories are augmented.
        vectors_PD: what the model's output is computed from.
        scores_PN: the output over the catalogue; None: that over `negatives` sampled items stands for it.
    """
    if training.confidence_penalty:
        if scores_PN is None:
            sampled_S = sample_items(len(items_ND), training.negatives, items_ND.device)
            scores_PN = (vectors_PD @ rows_of(items_ND, sampled_S).T).float()
        yield CONFIDENCE, training.confidence_penalty, confidence_penalty(scores_PN)
    if training.consistency is not None:
        loss = consistency_loss(model, users, items_ND, training.consistency)
        yield CONSISTENCY, training.consistency.weight, loss


def consistency_loss(model: Recommender, users: UserBatch, items_ND: Tensor, config: ConsistencyConfig) -> Tensor:
    """The divergence of two augmented views of each history; the mean over users who have one."""
    known_items = model.known_items
    present_B1 = ((users.history >= 0) & (users.history < known_items)).any(dim=1, keepdim=True)
    views = []
    for _ in range(2):
        history_BL = augmented(users.history, config, items_ND, known_items)
        views.append(model.encode_users(replace(users, history=history_BL), items_ND).float())
    if config.measure == "vectors":
        return vector_consistency(*(vectors_BD * present_B1 for vectors_BD in views))
    sampled_S = sample_items(len(items_ND), config.items, items_ND.device)
    scores = [(vectors_BD @ rows_of(items_ND, sampled_S).T).float() for vectors_BD in views]
    first_BS, second_BS = (scores_BS.masked_fill(~present_B1, -torch.inf) for scores_BS in scores)
    return score_consistency(first_BS, second_BS, config.temperature)
