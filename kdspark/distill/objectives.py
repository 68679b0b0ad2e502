"""What a student minimises: a module from batch to loss parts, so that it can be wrapped for several processes.

Legend: B rows, C candidates, N items, D dims, E dims of the teacher.
"""

from dataclasses import replace

from torch import Tensor, nn

from kdspark.config import DistillConfig, TrainingConfig
from kdspark.distill.batches import HARD, LOSS, SOFT, ExampleBatch
from kdspark.distill.context import Context
from kdspark.distill.hard import SOFTMAX_BYTES, hard_loss
from kdspark.distill.soft import soft_loss
from kdspark.errors import TrainingError
from kdspark.models.recommender import Recommender


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
        context = self._context(batch)
        parts: dict[str, Tensor] = {}
        total = context.users_BD.new_zeros(())
        if self.distill.hard_weight > 0:
            parts[HARD] = hard_loss(
                context.users_BD, context.items_ND, batch.targets, context.scores_BN, self.training_config
            )
            total = total + self.distill.hard_weight * parts[HARD]
        if self.distill.lambda_ > 0:
            parts[SOFT] = soft_loss(context, self.distill, self.training_config.negatives)
            total = total + self.distill.lambda_ * self.distill.temperature**2 * parts[SOFT]
        return {LOSS: total} | {name: part.detach() for name, part in parts.items()}

    def step_bytes(self, rows: int) -> int:
        """Least memory that the scores of a step with `rows` rows take; 0 where the softmax is sampled."""
        return rows * self.model.n_catalogue * SOFTMAX_BYTES if self._softmax_is_full() else 0

    def _softmax_is_full(self) -> bool:
        soft = self.distill.lambda_ > 0 and self.distill.candidates == "catalogue"
        return self.training_config.negatives == 0 and (self.distill.hard_weight > 0 or soft)

    def _context(self, batch: ExampleBatch) -> Context:
        if self.distill.lambda_ == 0:
            batch = replace(batch, candidates=None, logits=None)
        elif batch.candidates is None or batch.logits is None:
            raise TrainingError("The training rows hold no soft labels.", "Run the soft_labels stage, or set lambda 0.")
        items_ND = self.model.encode_items()
        return Context(
            batch,
            self.model.encode_users(batch.users, items_ND),
            items_ND,
            self.top_k,
            self._softmax_is_full(),
            self.mask_history,
        )
