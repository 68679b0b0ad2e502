"""Terms on vectors: DE and topology. They have parameters, and read the teacher's vectors of users, items, or both.

Legend: B rows, S sampled items, X rows of one side, D student dims, E teacher dims.
"""

import torch
from torch import Tensor, nn

from kdspark.config import DEConfig, TopologyConfig
from kdspark.distill.context import Context
from kdspark.distill.losses import ExpertHint, HierarchicalTopology, annealed, full_topology
from kdspark.distill.losses.topology import Side
from kdspark.distill.scores import sample_items
from kdspark.distill.terms.term import Setting, Term
from kdspark.models.gather import rows_of


class HintTerm(Term):
    """DE: the hints of users and items added, each with experts of its own."""

    def __init__(self, config: DEConfig, setting: Setting) -> None:
        super().__init__(config)
        self.config = config
        dims = setting.vector_dims(config.kind)
        self.hints = nn.ModuleList(ExpertHint(*dims, config.experts) for _ in range(_n_sides(config)))

    def forward(self, context: Context) -> Tensor:
        config = self.config
        temperature = annealed(config.temperature, config.final_temperature, context.progress)
        sides = _sides(config, context)
        with _exactly(context):
            losses = [hint(*side[:2], temperature, side[2]) for hint, side in zip(self.hints, sides, strict=True)]
        return torch.stack(losses).sum()


class TopologyTerm(Term):
    """FTD or HTD on the rows of the batch and sampled items together, as they lie in one space."""

    def __init__(self, config: TopologyConfig, setting: Setting) -> None:
        super().__init__(config)
        self.config = config
        dims = setting.vector_dims(config.kind)
        self.groups: HierarchicalTopology | None = None
        if config.hierarchical:
            self.groups = HierarchicalTopology(*dims, config.groups, _n_sides(config), config.share)

    def forward(self, context: Context) -> Tensor:
        sides = _sides(self.config, context)
        with _exactly(context):
            if self.groups is not None:
                loss: Tensor = self.groups(sides, self.config.temperature)
                return loss
            return full_topology(*(torch.cat(parts) for parts in zip(*sides, strict=True)))


def _n_sides(config: DEConfig | TopologyConfig) -> int:
    return 2 if config.rows == "both" else 1


def _sides(config: DEConfig | TopologyConfig, context: Context) -> list[Side]:
    """The student's and the teacher's vectors of users, of sampled items, or of both; and which rows count."""
    pairs = []
    if config.rows != "items":
        pairs.append((context.users_BD, context.teacher_users_BE))
    if config.rows != "users":
        assert context.teacher_items_NE is not None
        items_S = sample_items(len(context.items_ND), config.items, context.items_ND.device)
        pairs.append((rows_of(context.items_ND, items_S), context.teacher_items_NE[items_S]))
    # a vector of zeros is a row that the teacher knows nothing of
    return [(student.float(), teacher.float(), (teacher != 0).any(dim=1)) for student, teacher in pairs]


def _exactly(context: Context) -> torch.autocast:
    """float32: differences of cosines and of vectors drown in the rounding of bfloat16."""
    return torch.autocast(context.users_BD.device.type, enabled=False)
