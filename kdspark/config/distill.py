"""How the student learns: hard labels and soft labels."""

from typing import Literal

from pydantic import Field, model_validator

from kdspark.config.base import Strict


class DistillConfig(Strict):
    """loss = hard_weight * CE(hard) + lambda * T^2 * KL(teacher || student) on the candidates (Hinton et al., 2015).

    Args:
        lambda_: weight of the soft part (YAML key `lambda`); 0 trains the same student without distillation.
        targets: "score": softmax(logits / T); the others take the teacher's ordered top-K, rank 0 the best, and are
            zero on the tail, which teaches by being pushed down: "rank": p proportional to exp(-rank / rank_decay);
            "power": p proportional to 1 / (rank + rank_shift).
        standardise: z-scores of the logits per row before the temperature ("score" only).
        temperature: T, also divides the student's scores in the soft part.
        candidates: softmax of the soft part over the row's "candidates", or the "catalogue" (full softmax).
    """

    lambda_: float = Field(1.0, ge=0, alias="lambda")
    hard_weight: float = Field(1.0, ge=0)
    temperature: float = Field(1.0, gt=0)
    targets: Literal["score", "rank", "power"] = "rank"
    rank_decay: float = Field(10.0, gt=0)
    rank_shift: float = Field(5.0, gt=0)
    standardise: bool = False
    candidates: Literal["candidates", "catalogue"] = "candidates"

    @model_validator(mode="after")
    def _something_to_learn(self) -> "DistillConfig":
        if self.lambda_ == 0 and self.hard_weight == 0:
            raise ValueError("`lambda` and `hard_weight` are both 0: nothing to learn from")
        return self
