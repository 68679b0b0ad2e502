"""The hard part of the loss: cross-entropy of what users did.

Legend: B rows, T targets, S sampled items, N items, D dims.
"""

from torch import Tensor

from kdspark.config import TrainingConfig
from kdspark.distill.losses import hard_cross_entropy, sampled_cross_entropy
from kdspark.distill.scores import sample_items, scores_of

SOFTMAX_BYTES = 5 * 4 + 1
"""Per score of a full softmax: scores, masked scores, log-probabilities, gradients of two of them; a mask."""


def hard_loss(
    users_BD: Tensor, items_ND: Tensor, targets_BT: Tensor, scores_BN: Tensor | None, training: TrainingConfig
) -> Tensor:
    """Cross-entropy of the targets: over the catalogue, or over `negatives` uniformly drawn items."""
    if training.negatives == 0:
        scores_BN = (users_BD @ items_ND.T).float() if scores_BN is None else scores_BN
        return hard_cross_entropy(scores_BN, targets_BT, training.label_smoothing)
    sampled_S = sample_items(len(items_ND), training.negatives, items_ND.device)
    scores_BS = (users_BD @ items_ND[sampled_S].T).float()
    own_BT = scores_of(users_BD, items_ND, targets_BT, None)
    return sampled_cross_entropy(own_BT, targets_BT, scores_BS, sampled_S, len(items_ND))
