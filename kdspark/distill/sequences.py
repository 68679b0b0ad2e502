"""The objective of causal encoders: they learn from every position of whole histories.

Legend: B users, L history length, W window, X windows, P positions, N items, D dims.
"""

import torch
from torch import Tensor

from kdspark.config import TrainingConfig
from kdspark.distill.base import Objective
from kdspark.distill.batches import HARD, LOSS, ExampleBatch
from kdspark.distill.hard import LOG_SUM_BYTES, SCORES_BYTES, hard_loss, reads_scores
from kdspark.distill.losses import catalogue_log_sum
from kdspark.distill.regularise import regularisers
from kdspark.distill.scores import history_mask
from kdspark.distill.windows import cut_windows, seen_before
from kdspark.models.batch import UserBatch
from kdspark.models.gather import gathered
from kdspark.models.recommender import Recommender
from kdspark.tables import PAD


class SequenceObjective(Objective):
    """Next-item cross-entropy at every position of the users' histories, for causal encoders (SASRec's training).

    A history longer than the model's window is cut into windows, so that each of its items but the first is a target
    once. The batch's own targets are not used.

    Args:
        model: a causal model.
        training: `negatives`, `label_smoothing` and the regularisers are read.
        window: positions per window; the model's history length.
        mask_history: leave the items before a position, unless they are its target, out of its full softmax: they
            will not be recommended. False for logs in which users come back to items.
    """

    def __init__(self, model: Recommender, training: TrainingConfig, window: int, mask_history: bool = True) -> None:
        super().__init__(model, training)
        self.window, self.mask_history = window, mask_history

    def digest(self) -> str:
        return f"sequences:{self.window}:{self.mask_history}"

    def step_bytes(self, rows: int) -> int:
        """Least memory that the scores of a step with `rows` users take; 0 where the softmax is sampled."""
        if self.training_config.negatives > 0:
            return 0
        return rows * self.model.n_catalogue * (SCORES_BYTES if reads_scores(self.training_config) else LOG_SUM_BYTES)

    def forward(self, batch: ExampleBatch) -> dict[str, Tensor]:
        """{"loss", "hard"}, in nats, and the regularisers that are switched on, unweighted but for "loss"."""
        windows_XV, rows_X = cut_windows(batch.users.history, self.model.known_items, self.window)
        inputs_XW, next_XW = windows_XV[:, :-1], windows_XV[:, 1:]
        users = batch.users.take(rows_X)
        users = UserBatch(users.user_idx, inputs_XW, users.codes, users.numbers, users.vector)
        items_ND = gathered(self.model.encode_items())
        positions_XWD = self.model.encode_positions(users, items_ND)
        usable_XW = (inputs_XW != PAD) & (next_XW != PAD)
        users_PD, targets_P1 = positions_XWD[usable_XW], next_XW[usable_XW][:, None]
        seen_PW = seen_before(inputs_XW)[usable_XW] if self.mask_history else None
        scores_PN = log_sum_P1 = None
        if reads_scores(self.training_config):
            scores_PN = (users_PD @ items_ND.T).float()
            if seen_PW is not None:
                seen_PN = history_mask(seen_PW, [targets_P1], len(items_ND))
                scores_PN = scores_PN.masked_fill(seen_PN, -torch.inf)
        elif self.training_config.negatives == 0:
            log_sum_P1 = catalogue_log_sum(users_PD, items_ND, seen_PW, [targets_P1])
        total = hard_loss(users_PD, items_ND, targets_P1, self.training_config, scores_PN, log_sum_P1)
        parts = {HARD: total.detach()}
        for name, weight, part in regularisers(
            self.model, batch.users, users_PD, items_ND, scores_PN, self.training_config
        ):
            total = total + weight * part
            parts[name] = part.detach()
        return {LOSS: total} | parts
