"""What a student minimises.

Legend: N items, D dims, E dims of the teacher.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from kdspark.config import DistillConfig, TrainingConfig
from kdspark.distill.base import Objective
from kdspark.distill.batches import HARD, LAMBDA, LOSS, SOFT, TEMPERATURE, ExampleBatch
from kdspark.distill.context import Context
from kdspark.distill.hard import LOG_SUM_BYTES, SCORES_BYTES, hard_loss, reads_scores
from kdspark.distill.own_top import OwnTop
from kdspark.distill.regularise import regularisers
from kdspark.distill.schedules import Feedback, lambda_at, temperature_at
from kdspark.distill.soft import soft_loss
from kdspark.distill.terms import Setting, Term, build_terms
from kdspark.errors import ConfigError, TrainingError
from kdspark.models.gather import gathered
from kdspark.models.recommender import Recommender

_RANKING_BYTES = 4 + 1
"""Per score of a catalogue that is ranked: scores without what is known, and a mask of it."""


class ExampleObjective(Objective):
    """hard_weight * CE + lambda * T^2 * KL(teacher || student) + sum of weight * loss, one row per training position.

    In full softmaxes the row's own history is left out (it will never be recommended), unless it is a target or a
    candidate. What no part reads of the soft labels is not looked at.

    Args:
        model: the student (or any trainable teacher that is no causal encoder).
        distill: weights, targets and temperature, their schedules, and the further losses.
        training: `negatives`, `label_smoothing` and the regularisers are read.
        top_k: how many of the candidates are the teacher's ordered top; the rest is the tail.
        mask_history: leave the history out of full softmaxes; False where the history is the target too ("set").
        mask_soft: leave it out of the soft part's even there.
        teacher_items_NE: the teacher's item vectors, for losses on vectors.
        seed: of the parameters that losses have themselves.

    Raises:
        ConfigError: a loss reads the teacher's vectors and there are none, or they are of another catalogue.
    """

    teacher_items_NE: Tensor | None

    def __init__(
        self,
        model: Recommender,
        distill: DistillConfig,
        training: TrainingConfig,
        top_k: int = 0,
        mask_history: bool = True,
        mask_soft: bool = True,
        teacher_items_NE: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model, training)
        self.distill = distill
        self.top_k, self.mask_history, self.mask_soft = top_k, mask_history, mask_soft
        self.register_buffer("teacher_items_NE", teacher_items_NE, persistent=False)
        self.own_top = OwnTop(min(distill.kept, model.n_catalogue))
        heard = {"lambda": distill.feedback, "temperature": distill.feedback_temperature}
        self.feedback = nn.ModuleDict({name: Feedback(rule) for name, rule in heard.items() if rule is not None})
        self.terms = nn.ModuleList(build_terms(_setting(model, distill, teacher_items_NE), seed))

    def forward(self, batch: ExampleBatch) -> dict[str, Tensor]:
        """{"loss", "hard", "soft", and each further loss and regulariser under its name}, unweighted but for "loss";
        the first three in nats, "soft" being the KL without lambda and T^2.

        Raises:
            TrainingError: the batch lacks soft labels, or the teacher's vectors, that a loss reads.
        """
        context = self._context(batch, gathered(self.model.encode_items()))
        if self.refresh:
            context.kept_BR = self.own_top.of(batch.keys)
        parts: dict[str, Tensor] = {}
        total = context.users_BD.new_zeros(())
        if self.distill.hard_weight > 0:
            parts[HARD] = self._hard(context)
            total = total + self.distill.hard_weight * parts[HARD]
        if self.distill.lambda_ > 0:
            parts[SOFT] = soft_loss(context, self.distill, self.training_config.negatives)
            total = total + self._lambda() * self._temperature() ** 2 * parts[SOFT]
        for term in self._terms():
            parts[term.kind] = term(context)
            total = total + term.weight * parts[term.kind]
        for name, weight, part in regularisers(
            self.model, batch.users, context.users_BD, context.items_ND, context.scores_BN, self.training_config
        ):
            parts[name] = part
            total = total + weight * part
        return {LOSS: total} | {name: part.detach() for name, part in parts.items()}

    def _hard(self, context: Context) -> Tensor:
        training = self.training_config
        log_sum_B1 = None if training.negatives or context.catalogue else context.log_sum()
        return hard_loss(
            context.users_BD, context.items_ND, context.batch.targets, training, context.scores_BN, log_sum_B1
        )

    @property
    def refresh(self) -> int:
        return self.distill.refresh

    def find_own_top(self, batches: Iterable[ExampleBatch], rows: int) -> None:
        self.eval()
        with torch.inference_mode():
            items_ND = self.model.encode_items()
            self.own_top.find((self._context(batch, items_ND, False) for batch in batches), rows)

    def hear(self, metric: float) -> None:
        for rule in self.feedback.values():
            cast(Feedback, rule).hear(metric)

    def scheduled(self) -> dict[str, float]:
        found = {LAMBDA: self._lambda()} if self.distill.lambda_schedule else {}
        return found | ({TEMPERATURE: self._temperature()} if self.distill.temperature_schedule else {})

    def digest(self) -> str:
        return f"examples:{self.distill.digest()}:{self.top_k}:{self.mask_history}:{self.mask_soft}"

    def step_bytes(self, rows: int) -> int:
        softmax = self._softmax_bytes() if self._softmax_is_full() else 0
        ranking = _RANKING_BYTES if any(term.ranks_catalogue for term in self._terms()) else 0
        return rows * self.model.n_catalogue * (softmax + ranking)

    def _lambda(self) -> float:
        return lambda_at(self.distill, self.progress) * self._heard("lambda")

    def _temperature(self) -> float:
        return temperature_at(self.distill, self.progress) * self._heard("temperature")

    def _heard(self, name: str) -> float:
        return cast(Feedback, self.feedback[name]).factor if name in self.feedback else 1.0

    def _softmax_bytes(self) -> int:
        if reads_scores(self.training_config):
            return SCORES_BYTES
        scaled = self.distill.temperature != 1 or bool(self.distill.temperature_schedule)
        apart = scaled or (self.mask_soft and not self.mask_history)
        hard, soft = self.distill.hard_weight > 0, self._soft_is_full()
        return LOG_SUM_BYTES * (hard + soft if apart else 1)

    def _soft_is_full(self) -> bool:
        return self.distill.lambda_ > 0 and self.distill.candidates == "catalogue"

    def _softmax_is_full(self) -> bool:
        penalised = self.training_config.confidence_penalty != 0
        reads = self.distill.hard_weight > 0 or self._soft_is_full() or penalised
        return self.training_config.negatives == 0 and reads

    def _context(self, batch: ExampleBatch, items_ND: Tensor, catalogue: bool = True) -> Context:
        """The step of a batch; `catalogue`: whether its scores may be computed."""
        if not self.distill.reads_candidates:
            batch = replace(batch, candidates=None, logits=None)
        elif batch.candidates is None or batch.logits is None:
            raise TrainingError(
                "The training rows hold no soft labels.",
                "Run the soft_labels stage, or set lambda 0 and remove the losses that read them.",
            )
        return Context(
            batch,
            self.model.encode_users(batch.users, items_ND),
            items_ND,
            self.top_k,
            catalogue and self._softmax_is_full() and reads_scores(self.training_config),
            self.mask_history,
            self.mask_soft,
            self.progress,
            self._temperature(),
            self.teacher_items_NE,
        )

    def _terms(self) -> list[Term]:
        return [cast(Term, term) for term in self.terms]


def _setting(model: Recommender, distill: DistillConfig, teacher_items_NE: Tensor | None) -> Setting:
    n_events = model.get_buffer("n_events")
    if not distill.reads_vectors or teacher_items_NE is None:
        return Setting(distill, n_events)
    if len(teacher_items_NE) != model.n_catalogue:
        raise ConfigError(
            f"The teacher has vectors of {len(teacher_items_NE)} items, the student's catalogue has "
            f"{model.n_catalogue}.",
            "Encode the same night's items with both.",
        )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        student_dim = model.encode_items().shape[1]
    known_N = (teacher_items_NE != 0).any(dim=1)
    return Setting(distill, n_events, student_dim, teacher_items_NE.shape[1], known_N)
