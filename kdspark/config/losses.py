"""Distillation losses beside the soft labels' KL. `kind` selects the loss; each has only its own keys."""

from typing import Annotated, Literal, Union

from pydantic import Field, model_validator
from typing_extensions import Self

from kdspark.config.base import Strict

Read = Literal["candidates", "users", "items"]
"""What a loss reads of the teacher: its candidates with their logits, its vectors of the rows' users, or of items."""


class _Loss(Strict):
    """A loss beside the hard and the soft one.

    Args:
        weight: its factor in the sum.
    """

    weight: float = Field(1.0, gt=0)

    @property
    def reads(self) -> frozenset[Read]:
        """What it needs of the teacher."""
        return frozenset[Read](["candidates"])


class _OwnTopLoss(_Loss):
    """A loss on the student's own highest items.

    Args:
        pool: uniformly drawn items among which, beside the candidates, the student's highest are looked for; 0 looks
            in the whole catalogue, in every step.
        refresh: every so many epochs find the student's highest items in the whole catalogue, exactly and tile by
            tile, and look among these and the candidates in the steps until the next time: for catalogues that no step
            can rank. Checkpoints are written as often, as what was found is not in them. 0 looks anew in every step.
    """

    pool: int = Field(0, ge=0)
    refresh: int = Field(0, ge=0)

    @property
    def kept(self) -> int:
        """How many of a row's items `refresh` finds."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _one_way_to_look(self) -> Self:
        if self.refresh:
            self.refuse_idle(["pool"], "with `refresh`, which looks in the whole catalogue")
        return self


class RDConfig(_Loss):
    """Ranking Distillation (Tang & Wang, KDD 2018): the teacher's top items as positives, weighted.

    Args:
        decay: importance of the teacher's r-th item is exp(-r / decay).
        mu: sharpness of the weight by discrepancy of ranks.
        samples: uniformly drawn items from which the student's ranks are estimated.
        warmup: share of the training before the discrepancy counts: ranks of an untrained student say nothing.
    """

    kind: Literal["rd"] = "rd"
    decay: float = Field(10.0, gt=0)
    mu: float = Field(0.1, gt=0)
    samples: int = Field(256, ge=1)
    warmup: float = Field(0.25, ge=0, le=1)


class CDConfig(_OwnTopLoss):
    """Collaborative Distillation (Lee et al., ICDM 2019): sigmoid cross-entropy with soft targets on drawn candidates.

    Args:
        decay: a candidate is drawn with probability proportional to exp(-rank / decay).
        samples: candidates drawn per row.
        temperature, shift: targets are sigmoid((teacher's logit + shift) / temperature).
        standardise: z-scores of the row's logits first; raw ones differ wildly between users.
        guide: whose ranking of the candidates to draw by.
        reach: the student's highest items of the catalogue, from which it draws with `guide: student`, as in the paper;
            the teacher's scores of them come from its vectors. 0 draws from the row's candidates.
    """

    kind: Literal["cd"] = "cd"
    decay: float = Field(20.0, gt=0)
    samples: int = Field(50, ge=1)
    temperature: float = Field(1.0, gt=0)
    shift: float = 0.0
    standardise: bool = True
    guide: Literal["teacher", "student"] = "teacher"
    reach: int = Field(0, ge=0)

    @property
    def kept(self) -> int:
        return self.reach

    @property
    def reads(self) -> frozenset[Read]:
        return frozenset[Read](["candidates", "users", "items"] if self.reach else ["candidates"])

    @model_validator(mode="after")
    def _whose_own_items(self) -> "CDConfig":
        if self.guide == "teacher":
            self.refuse_idle(["reach", "pool", "refresh"], "with `guide: teacher`")
        elif not self.reach:
            self.refuse_idle(["pool", "refresh"], "with `reach: 0`")
        return self


class RRDConfig(_Loss):
    """Relaxed Ranking Distillation (Kang et al., CIKM 2020): the teacher's top in order, then the tail in any order.

    As in the paper a sum over the interesting items, so some ten times a cross-entropy; weigh it accordingly.

    Args:
        interesting: items drawn from the teacher's top with probability proportional to exp(-rank / decay).
        uninteresting: items drawn uniformly from the tail.
    """

    kind: Literal["rrd"] = "rrd"
    interesting: int = Field(20, ge=1)
    uninteresting: int = Field(50, ge=0)
    decay: float = Field(10.0, gt=0)


class UnKDConfig(_Loss):
    """UnKD (Chen et al., WSDM 2023): pairs in the teacher's order among equally popular items.

    Args:
        groups: popularity groups, of equal total events.
        pairs: pairs drawn per row and group.
        decay: an item is drawn with probability proportional to exp(-rank in its group / decay).
    """

    kind: Literal["unkd"] = "unkd"
    groups: int = Field(4, ge=1, le=100)
    pairs: int = Field(10, ge=1)
    decay: float = Field(20.0, gt=0)


class RCEConfig(_OwnTopLoss):
    """RCE-KD (Zhu & Zhang, ICLR 2026): cross-entropy on the teacher's top against what the student ranks above it.

    Its targets and temperature are those of the soft labels (`targets`, `temperature`).

    Args:
        top: items that make up the student's own top.
        samples: items drawn from above the teacher's items that are not in the student's top.
        reach: the student's highest items from which they are drawn.
        tau: a small one prefers items that stand above many of the teacher's.
        beta: how fast the weight moves to the items both agree on as they grow more.
    """

    kind: Literal["rce"] = "rce"
    top: int = Field(50, ge=1)
    samples: int = Field(50, ge=1)
    reach: int = Field(200, ge=1)
    tau: float = Field(10.0, gt=0)
    beta: float = Field(1.0, ge=0)

    @property
    def kept(self) -> int:
        return max(self.top, self.reach)


class _VectorLoss(_Loss):
    """A loss on the vectors of teacher and student.

    Args:
        rows: whose vectors.
        items: uniformly drawn items per step, where `rows` are not the users alone.
    """

    rows: Literal["users", "items", "both"] = "both"
    items: int = Field(256, ge=2)

    @model_validator(mode="after")
    def _items_of_what(self) -> Self:
        if self.rows == "users":
            self.refuse_idle(["items"], "with `rows: users`")
        return self

    @property
    def reads(self) -> frozenset[Read]:
        return frozenset[Read](["users", "items"]) if self.rows == "both" else frozenset[Read]([self.rows])


class DEConfig(_VectorLoss):
    """Distillation Experts (Kang et al., CIKM 2020): a hint on the teacher's vectors, through selected projections.

    Args:
        experts: projections, for users and for items each.
        temperature, final_temperature: of the selection, falling by the same factor in every step.
    """

    kind: Literal["de"] = "de"
    experts: int = Field(5, ge=1)
    temperature: float = Field(1.0, gt=0)
    final_temperature: float = Field(0.1, gt=0)


class TopologyConfig(_VectorLoss):
    """Topology Distillation (Kang et al., KDD 2021): cosines between rows, all of them (FTD) or by groups (HTD).

    Args:
        hierarchical: HTD; False: FTD.
        groups: groups of users, and of items (HTD).
        share: weight of the topology beside the hint that learns the groups (HTD).
        temperature: of the assignment to groups in that hint (HTD).
    """

    kind: Literal["topology"] = "topology"
    hierarchical: bool = True
    groups: int = Field(30, ge=1)
    share: float = Field(0.5, gt=0, lt=1)
    temperature: float = Field(0.1, gt=0)

    @model_validator(mode="after")
    def _groups_of_a_hierarchy(self) -> Self:
        if not self.hierarchical:
            self.refuse_idle(["groups", "share", "temperature"], "with `hierarchical: false`")
        return self


OwnTopLossConfig = CDConfig | RCEConfig
"""The losses that may look at the student's own highest items."""

LossConfig = Annotated[
    Union[RDConfig, CDConfig, RRDConfig, UnKDConfig, RCEConfig, DEConfig, TopologyConfig],
    Field(discriminator="kind"),
]
