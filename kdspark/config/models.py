"""Every recommender there is, teachers among them. `kind` selects the model; each has only its own keys."""

from typing import Annotated, Literal, Union

from pydantic import Field, model_validator
from typing_extensions import Self

from kdspark.config.base import Strict
from kdspark.config.item_item import EASEConfig, GFCFConfig
from kdspark.config.lightgcn import LightGCNConfig
from kdspark.config.neural import (
    BagConfig,
    CNNConfig,
    GRUConfig,
    LSTMConfig,
    MFConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from kdspark.config.opinions import AgreementConfig, MixtureConfig
from kdspark.config.training import TrainingConfig

Storage = Literal["float32", "int8"]
"""How a model's large matrices lie in its files: as trained, or as int8 rows with a scale each."""


class ALSConfig(Strict):
    """Spark MLlib's implicit-feedback ALS (Hu, Koren & Volinsky, 2008)."""

    kind: Literal["als"] = "als"
    rank: int = Field(32, ge=1)
    iterations: int = Field(10, ge=1)
    reg: float = Field(0.1, gt=0)
    alpha: float = Field(10.0, gt=0)


class PopularityConfig(Strict):
    """The same list for everyone: items by number of training events."""

    kind: Literal["popularity"] = "popularity"


class PretrainedConfig(Strict):
    """A recommender loaded from a folder that kdspark wrote (model.json, model.safetensors)."""

    kind: Literal["pretrained"] = "pretrained"
    path: str


class TransferConfig(Strict):
    """A model that was trained on another log with some of the same items, told apart by their external ids.

    It must read histories: what a table of users says is about other people. Items that it does not know are told by
    their features where it reads those, from equal columns; or they are learned from tonight's events.

    Args:
        path: a model folder of the other workspace, such as ROOT/stages/train_teacher/.../model.
        vocabulary: that workspace's folder of the prepare stage; null: the one named in the manifest beside the model.
        least: share of tonight's items, of those with an event, that it must know; 0 for a model with `item_features`
            whose log has the same features and may have no item in common.
        training: how it goes on learning from tonight's events; null: not at all.
    """

    kind: Literal["transfer"] = "transfer"
    path: str
    vocabulary: str | None = None
    least: float = Field(0.1, ge=0, le=1)
    training: TrainingConfig | None = None

    @model_validator(mode="after")
    def _no_user_table(self) -> Self:
        if self.training is not None:
            self.training.refuse_idle(["user_learning_rate"], "in a model without free user vectors")
        return self


class EnsembleConfig(Strict):
    """Weighted sum of members' scores, each standardised per user (z-scores over the catalogue).

    A negative weight pushes down what its member likes, such as popular items; the sum of all must be positive.

    Args:
        weights: one per member; default all 1.
        combine: "fixed": these weights for everyone. The others multiply them, for each user, by factors whose mean
            over the members that know the user is 1. "agreement": a member counts by how far its opinion is shared by
            the others (after Wu & Crestani, CIKM'02), so one that is alone counts less; it takes three to tell who is.
            "gate": a softmax of linear functions of what is known of the user (a mixture of experts, Jacobs et al.,
            1991): the length of the history, and how far each member's best item stands out; fitted on validation
            events.
    """

    kind: Literal["ensemble"] = "ensemble"
    members: Annotated[list["RecommenderConfig"], Field(min_length=2)]
    weights: list[float] | None = None
    combine: Literal["fixed", "agreement", "gate"] = "fixed"
    agreement: AgreementConfig = AgreementConfig()
    mixture: MixtureConfig = MixtureConfig()

    @model_validator(mode="after")
    def _one_weight_per_member(self) -> "EnsembleConfig":
        if self.weights is not None and len(self.weights) != len(self.members):
            raise ValueError(f"{len(self.weights)} `weights` for {len(self.members)} `members`")
        if self.weights is not None and sum(self.weights) <= 0:
            raise ValueError(f"`weights` sum to {sum(self.weights):g}; their sum must be positive")
        return self

    @model_validator(mode="after")
    def _keys_of_the_way(self) -> "EnsembleConfig":
        own = {"agreement": "agreement", "gate": "mixture"}.get(self.combine)
        self.refuse_idle([key for key in ("agreement", "mixture") if key != own], f"with `combine: {self.combine}`")
        if self.combine == "agreement" and len(self.members) < 3:
            raise ValueError("`combine: agreement` needs three `members`: two agree with each other equally far")
        if self.combine == "agreement" and min(self.weights or [1.0]) < 0:
            raise ValueError("`combine: agreement` asks what members like; a negative weight says the contrary")
        return self


RecommenderConfig = Annotated[
    Union[
        MFConfig,
        BagConfig,
        GRUConfig,
        LSTMConfig,
        CNNConfig,
        TwoTowerConfig,
        TransformerConfig,
        EASEConfig,
        GFCFConfig,
        ALSConfig,
        LightGCNConfig,
        PopularityConfig,
        PretrainedConfig,
        TransferConfig,
        EnsembleConfig,
    ],
    Field(discriminator="kind"),
]
EnsembleConfig.model_rebuild()
