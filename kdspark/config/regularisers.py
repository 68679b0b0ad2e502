"""Regularisers of a training that need settings of their own."""

from typing import Literal

from pydantic import Field, model_validator

from kdspark.config.base import Strict


class ConsistencyConfig(Strict):
    """Two augmented views of one history should mean the same to a model.

    Each view of each row is made by one of the augmentations that are switched on, drawn uniformly (CL4SRec, Xie et
    al., 2022; substitution as in CoSeRec, Liu et al., 2021).

    Args:
        weight: factor of the divergence in the loss.
        measure: "scores": symmetric KL of the softmax over sampled items; "vectors": 1 - cos of the user's vectors.
        temperature: of that softmax.
        items: uniformly drawn items that it is over.
        crop: share of the history, a run of items, that is kept; 1 for no cropping.
        mask: share of the items that are left out.
        reorder: share of the history, a run of items, that is shuffled.
        substitute: share of the items that are replaced by the most similar among `pool` uniformly drawn ones.
    """

    weight: float = Field(0.1, gt=0)
    measure: Literal["scores", "vectors"] = "scores"
    temperature: float = Field(1.0, gt=0)
    items: int = Field(256, ge=2)
    crop: float = Field(0.8, gt=0, le=1)
    mask: float = Field(0.2, ge=0, lt=1)
    reorder: float = Field(0.2, ge=0, le=1)
    substitute: float = Field(0.0, ge=0, le=1)
    pool: int = Field(512, ge=2)

    @model_validator(mode="after")
    def _views_differ(self) -> "ConsistencyConfig":
        if self.crop == 1 and not (self.mask or self.reorder or self.substitute):
            raise ValueError("`crop` 1 and `mask`, `reorder` and `substitute` 0: both views would be the history")
        return self

    @model_validator(mode="after")
    def _keys_of_the_measure(self) -> "ConsistencyConfig":
        if self.measure == "vectors":
            self.refuse_idle(["temperature", "items"], "with `measure: vectors`")
        if not self.substitute:
            self.refuse_idle(["pool"], "with `substitute: 0`")
        return self
