"""Small steps for the tests of terms: free vectors as the student, logits of a teacher in order."""

from typing import Any

import torch
from torch import Tensor

from kdspark.config import DistillConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.context import Context
from kdspark.distill.terms import Setting, Term, build_terms
from kdspark.models.batch import UserBatch
from kdspark.tables import PAD

ROWS, ITEMS, DIM, TOP, TAIL, TEACHER_DIM = 6, 40, 5, 4, 3, 8
SCORED = ["rd", "cd", "rrd", "unkd", "rce"]
VECTOR = ["de", "topology"]


def batch(seed: int = 0) -> ExampleBatch:
    """Row 4 has three candidates, the last row none; histories share no item with the candidates."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(ITEMS, generator=generator) for _ in range(ROWS)])
    candidates, history, targets = order[:, : TOP + TAIL].clone(), order[:, 10:13], order[:, 20:21]
    logits = torch.randn(ROWS, TOP + TAIL, generator=generator).sort(dim=1, descending=True).values
    candidates[4, [3, 4, 5, 6]] = PAD
    candidates[5] = PAD
    none = torch.empty(ROWS, 0)
    users = UserBatch(torch.arange(ROWS), history, none.long(), none, none)
    vectors = torch.randn(ROWS, TEACHER_DIM, generator=generator)
    return ExampleBatch(users, targets, candidates, torch.where(candidates == PAD, 0.0, logits), vectors)


def vectors(seed: int = 1) -> tuple[Tensor, Tensor]:
    """A student's vectors of the rows and of the items, with gradients."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(ROWS, DIM, generator=generator, requires_grad=True)
    return users, torch.randn(ITEMS, DIM, generator=generator, requires_grad=True)


def teacher_items(seed: int = 2) -> Tensor:
    return torch.randn(ITEMS, TEACHER_DIM, generator=torch.Generator().manual_seed(seed))


def context(rows: ExampleBatch, users: Tensor, items: Tensor, **values: Any) -> Context:
    return Context(rows, users, items, **({"top_k": TOP, "teacher_items_NE": teacher_items()} | values))


def term(kind: str, seed: int = 0, distill: dict[str, Any] | None = None, **values: Any) -> Term:
    config = DistillConfig.model_validate({"losses": [{"kind": kind, **values}], **(distill or {})})
    n_events = torch.arange(ITEMS, 0, -1) ** 2
    (built,) = build_terms(Setting(config, n_events, DIM, TEACHER_DIM, torch.ones(ITEMS, dtype=torch.bool)), seed)
    return built
