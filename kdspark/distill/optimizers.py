"""The optimisers of one training: Adam for what every step moves, a lazy Adam for tables of which it moves a few rows.

A table of free user vectors has a gradient in the batch's rows alone. Ordinary Adam would still touch every row in
every step: the cost of a step would grow with the number of users, and a row would drift on by momentum while its
user is away.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from kdspark.config import TrainingConfig
from kdspark.distill.ranks import world

_ROW_BETAS = (0.5, 0.9)
"""A row moves about once an epoch, so its moments must forget within a few steps of its own."""


class Optimizers:
    """AdamW for dense parameters, SparseAdam for the embedding tables that say `sparse`, on one schedule.

    On several processes all gradients are dense, since not every backend can average sparse ones.

    Args:
        module: what is trained.
        config: rates, weight decay (of dense parameters) and the bound of the gradient's norm.
    """

    def __init__(self, module: nn.Module, config: TrainingConfig) -> None:
        self._config = config
        tables = [part for part in module.modules() if isinstance(part, nn.Embedding) and part.sparse]
        if world() > 1:
            for table in tables:
                table.sparse = False
        rows = [table.weight for table in tables]
        self._sparse: list[Tensor] = [table.weight for table in tables if table.sparse]
        theirs = {id(parameter) for parameter in rows}
        self._dense: list[Tensor] = [parameter for parameter in module.parameters() if id(parameter) not in theirs]
        user_rate = config.user_learning_rate or config.learning_rate
        groups: list[dict[str, Any]] = [{"params": self._dense, "peak": config.learning_rate}]
        if rows and not self._sparse:
            groups.append({"params": rows, "peak": user_rate})
            self._dense = [*self._dense, *rows]
        self._all: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, weight_decay=config.weight_decay)]
        if self._sparse:
            lazy = [{"params": self._sparse, "peak": user_rate}]
            self._all.append(torch.optim.SparseAdam(lazy, betas=_ROW_BETAS))

    def start(self, rate: float) -> None:
        """Before a step: forget gradients, set the rates. `rate` is that of `learning_rate` at this step."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["peak"] / self._config.learning_rate
            optimizer.zero_grad(set_to_none=True)

    def clip(self) -> Tensor:
        """Bound the norm of the dense gradient; returns that plus the sparse ones' norms, to see whether all is finite.

        Rows of a table are not bounded: Adam divides each by its own size anyway.
        """
        norm = nn.utils.clip_grad_norm_(self._dense, self._config.clip_norm)
        for table in self._sparse:
            if table.grad is not None:
                norm = norm + table.grad.coalesce().values().norm()
        return norm

    def step(self) -> None:
        for optimizer in self._all:
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """All moments, by name, for a checkpoint."""
        return {
            f"{place}.{index}.{name}": torch.as_tensor(value)
            for place, optimizer in enumerate(self._all)
            for index, moments in optimizer.state_dict()["state"].items()
            for name, value in moments.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        for place, optimizer in enumerate(self._all):
            moments: dict[int, dict[str, Any]] = {}
            for name, tensor in tensors.items():
                where, index, key = name.split(".", 2)
                if int(where) == place:
                    # SparseAdam counts steps by a Python number, and would compute in float32 with a tensor
                    counts = key == "step" and isinstance(optimizer, torch.optim.SparseAdam)
                    moments.setdefault(int(index), {})[key] = int(tensor) if counts else tensor
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})


def learning_rate(config: TrainingConfig, step: int, total: int) -> float:
    """Linear warm-up over the first `warmup` share of all steps, then a cosine to zero."""
    warm = math.ceil(config.warmup * total)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
