"""The hard part of the loss: cross-entropy of what users did.

Legend: B rows, T targets, S sampled items, N items, D dims.
"""

from torch import Tensor

from kdspark.config import TrainingConfig
from kdspark.distill.losses import hard_cross_entropy, normalised_cross_entropy, sampled_cross_entropy
from kdspark.distill.scores import sample_items, scores_of
from kdspark.models.gather import rows_of

SCORES_BYTES = 5 * 4 + 1
"""Per score of a catalogue whose scores are kept: they, masked ones, log-probabilities, gradients of two; a mask."""
LOG_SUM_BYTES = 4
"""Per score of a catalogue of which only log Z is kept."""


def reads_scores(training: TrainingConfig) -> bool:
    """Whether a full softmax needs the score of every item, and not log Z alone."""
    return training.negatives == 0 and (training.label_smoothing > 0 or training.confidence_penalty != 0)


def hard_loss(
    users_BD: Tensor,
    items_ND: Tensor,
    targets_BT: Tensor,
    training: TrainingConfig,
    scores_BN: Tensor | None = None,
    log_sum_B1: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the targets: over the catalogue, or over `negatives` uniformly drawn items.

    Args:
        scores_BN: scores of the catalogue, where `reads_scores`.
        log_sum_B1: log Z of the catalogue, where neither this is so nor items are drawn.
    """
    if scores_BN is not None and training.negatives == 0:
        return hard_cross_entropy(scores_BN, targets_BT, training.label_smoothing)
    own_BT = scores_of(users_BD, items_ND, targets_BT, None)
    if log_sum_B1 is not None:
        return normalised_cross_entropy(log_sum_B1, own_BT, targets_BT)
    sampled_S = sample_items(len(items_ND), training.negatives, items_ND.device)
    scores_BS = (users_BD @ rows_of(items_ND, sampled_S).T).float()
    return sampled_cross_entropy(own_BT, targets_BT, scores_BS, sampled_S, len(items_ND))
