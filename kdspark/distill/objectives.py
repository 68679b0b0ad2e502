"""What is minimised: modules that map a batch to their loss parts, so that they can be wrapped for several processes.

Legend: B rows, L history length, W window, P positions, T targets, C candidates, S sampled items, N items, D dims.
"""

import torch
from torch import Tensor, nn

from kdspark.config import DistillConfig, TrainingConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.losses import entropy, hard_cross_entropy, kl_divergence, sampled_cross_entropy
from kdspark.distill.scores import history_mask, sample_items, scores_of
from kdspark.distill.targets import soft_targets
from kdspark.distill.windows import cut_windows, seen_before
from kdspark.errors import TrainingError
from kdspark.models.batch import UserBatch
from kdspark.models.recommender import Recommender
from kdspark.tables import PAD

LOSS, HARD, SOFT = "loss", "hard", "soft"
_SOFTMAX_BYTES = 5 * 4 + 1
"""Per score of a full softmax: scores, masked scores, log-probabilities, gradients of two of them; a mask."""
_SEEN_BYTES = 2 + 1
"""Per window column and item: the running count, and whether it is positive."""


class SequenceObjective(nn.Module):
    """Next-item cross-entropy at every position of the users' histories, for causal encoders (SASRec's training).

    A history longer than the model's window is cut into windows, so that each of its items but the first is a target
    once. The batch's own targets are not used.

    Args:
        model: a causal model.
        training: `negatives` and `label_smoothing` are read.
        window: positions per window; the model's history length.
        mask_history: leave the items before a position, unless they are its target, out of its full softmax: they
            will not be recommended. False for logs in which users come back to items.
    """

    def __init__(self, model: Recommender, training: TrainingConfig, window: int, mask_history: bool = True) -> None:
        super().__init__()
        self.model, self.training_config, self.window = model, training, window
        self.mask_history = mask_history

    def step_bytes(self, rows: int) -> int:
        """Least memory that the scores of a step with `rows` users take; 0 where the softmax is sampled."""
        if self.training_config.negatives > 0:
            return 0
        per_item = _SOFTMAX_BYTES + (_SEEN_BYTES * self.window if self.mask_history else 0)
        return rows * self.model.n_catalogue * per_item

    def forward(self, batch: ExampleBatch) -> dict[str, Tensor]:
        """{"loss", "hard"}, in nats."""
        windows_XV, rows_X = cut_windows(batch.users.history, self.model.known_items, self.window)
        inputs_XW, next_XW = windows_XV[:, :-1], windows_XV[:, 1:]
        users = batch.users.take(rows_X)
        users = UserBatch(users.user_idx, inputs_XW, users.codes, users.numbers, users.vector)
        items_ND = self.model.encode_items()
        positions_XWD = self.model.encode_positions(users, items_ND)
        usable_XW = (inputs_XW != PAD) & (next_XW != PAD)
        users_PD, targets_P1 = positions_XWD[usable_XW], next_XW[usable_XW][:, None]
        scores_PN = None
        if self.mask_history and self.training_config.negatives == 0:
            scores_PN = (users_PD @ items_ND.T).float()
            seen_PN = seen_before(inputs_XW, len(items_ND))[usable_XW].scatter_(1, targets_P1, False)
            scores_PN = scores_PN.masked_fill(seen_PN, -torch.inf)
        loss = hard_loss(users_PD, items_ND, targets_P1, scores_PN, self.training_config)
        return {LOSS: loss, HARD: loss.detach()}


class ExampleObjective(nn.Module):
    """hard_weight * CE + lambda * T^2 * KL(teacher || student), one row per training position.

    In full softmaxes the row's own history is left out (it will never be recommended), unless it is a target or a
    candidate. With lambda = 0 the candidates are not read.

    Args:
        model: the student (or any trainable teacher that is no causal encoder).
        distill: weights, targets and temperature.
        training: `negatives` and `label_smoothing` are read.
        top_k: how many of the candidates are the teacher's ordered top; the rest is the tail.
        mask_history: leave the history out of full softmaxes; False where the history is the target too ("set").
    """

    def __init__(
        self,
        model: Recommender,
        distill: DistillConfig,
        training: TrainingConfig,
        top_k: int = 0,
        mask_history: bool = True,
    ) -> None:
        super().__init__()
        self.model, self.distill, self.training_config = model, distill, training
        self.top_k, self.mask_history = top_k, mask_history

    def forward(self, batch: ExampleBatch) -> dict[str, Tensor]:
        """{"loss", "hard", "soft"}, each in nats; "soft" is the KL, without lambda and T^2.

        Raises:
            TrainingError: lambda is positive and the batch has no soft labels.
        """
        if self.distill.lambda_ > 0 and (batch.candidates is None or batch.logits is None):
            raise TrainingError("The training rows hold no soft labels.", "Run the soft_labels stage, or set lambda 0.")
        items_ND = self.model.encode_items()
        users_BD = self.model.encode_users(batch.users, items_ND)
        scores_BN = self._full_scores(batch, users_BD, items_ND) if self._needs_full() else None
        parts: dict[str, Tensor] = {}
        total = users_BD.new_zeros(())
        if self.distill.hard_weight > 0:
            parts[HARD] = hard_loss(users_BD, items_ND, batch.targets, scores_BN, self.training_config)
            total = total + self.distill.hard_weight * parts[HARD]
        if self.distill.lambda_ > 0:
            parts[SOFT] = self._soft(batch, users_BD, items_ND, scores_BN)
            total = total + self.distill.lambda_ * self.distill.temperature**2 * parts[SOFT]
        return {LOSS: total} | {name: part.detach() for name, part in parts.items()}

    def step_bytes(self, rows: int) -> int:
        """Least memory that the scores of a step with `rows` rows take; 0 where the softmax is sampled."""
        return rows * self.model.n_catalogue * _SOFTMAX_BYTES if self._needs_full() else 0

    def _needs_full(self) -> bool:
        soft = self.distill.lambda_ > 0 and self.distill.candidates == "catalogue"
        return self.training_config.negatives == 0 and (self.distill.hard_weight > 0 or soft)

    def _full_scores(self, batch: ExampleBatch, users_BD: Tensor, items_ND: Tensor) -> Tensor:
        scores_BN = (users_BD @ items_ND.T).float()
        if not self.mask_history:
            return scores_BN
        kept = [batch.targets]
        if self.distill.lambda_ > 0 and batch.candidates is not None:
            kept.append(batch.candidates)
        return scores_BN.masked_fill(history_mask(batch.users.history, kept, scores_BN.shape[1]), -torch.inf)

    def _soft(self, batch: ExampleBatch, users_BD: Tensor, items_ND: Tensor, scores_BN: Tensor | None) -> Tensor:
        assert batch.candidates is not None
        assert batch.logits is not None
        candidates_BC, config = batch.candidates, self.distill
        targets_BC = soft_targets(config, candidates_BC, batch.logits, self.top_k)
        own_BC = scores_of(users_BD, items_ND, candidates_BC, scores_BN) / config.temperature
        own_BC = own_BC.masked_fill(candidates_BC == PAD, -torch.inf)
        if config.candidates == "candidates":
            return kl_divergence(targets_BC, own_BC)
        if scores_BN is not None:
            rest = (scores_BN / config.temperature).logsumexp(dim=1, keepdim=True)
        else:
            rest = self._sampled_log_sum(candidates_BC, own_BC, users_BD, items_ND)
        # cross-entropy with a given log-normaliser: sum p (log Z - s), a row without candidates counting nothing
        has_target_B = (targets_BC > 0).any(dim=1)
        losses_BC = targets_BC * torch.where(targets_BC > 0, rest - own_BC, 0.0)
        cross = (losses_BC.sum(dim=1) * has_target_B).sum() / has_target_B.sum().clamp(min=1)
        return cross - entropy(targets_BC)

    def _sampled_log_sum(self, candidates_BC: Tensor, own_BC: Tensor, users_BD: Tensor, items_ND: Tensor) -> Tensor:
        """log Z of the catalogue, estimated from the candidates (exactly) and the rest (uniform sample)."""
        sampled_S = sample_items(len(items_ND), self.training_config.negatives, items_ND.device)
        scores_BS = (users_BD @ items_ND[sampled_S].T).float() / self.distill.temperature
        hits_BS = torch.zeros(scores_BS.shape, dtype=torch.bool, device=scores_BS.device)
        for column_B in candidates_BC.unbind(dim=1):  # C is small; a [B, S, C] comparison would not be
            hits_BS |= column_B[:, None] == sampled_S
        correction = torch.log(torch.tensor(len(items_ND) / len(sampled_S)))
        scores_BS = scores_BS.masked_fill(hits_BS, -torch.inf) + correction
        return torch.cat([own_BC, scores_BS], dim=1).logsumexp(dim=1, keepdim=True)


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
