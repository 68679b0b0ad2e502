"""Recommenders and how the trainable ones are trained. `kind` selects the model; each model has only its own keys."""

from typing import Annotated, Literal, Union

from pydantic import Field, model_validator
from typing_extensions import Self

from kdspark.config.base import Strict
from kdspark.config.regularisers import ConsistencyConfig

Storage = Literal["float32", "int8"]
"""How a model's large matrices lie in its files: as trained, or as int8 rows with a scale each."""


class TrainingConfig(Strict):
    """Optimisation of one neural model.

    Args:
        epochs: passes over the training rows, at most.
        batch_size: rows per step and process.
        learning_rate: peak rate of Adam; linear warm-up over `warmup` of all steps, then cosine decay to zero.
        user_learning_rate: peak rate of free user vectors ("mf" alone); None for `learning_rate`. A user's vector moves
            only in the steps that have rows of it, once an epoch in a log of sets, so it wants a higher rate.
        negatives: 0 for a full softmax over the catalogue, else the number of uniformly sampled items shared by a
            batch (sampled softmax with log-frequency correction of the sampling).
        label_smoothing: share of the hard target spread over the candidates.
        confidence_penalty: weight of minus the entropy of the model's output (Pereyra et al., 2017): a positive one
            keeps it unsure, which makes a teacher's labels softer, a negative one makes it surer.
        consistency: regularise by two augmented views of each history; null for none.
        keep: "best" keeps the weights of the best validation metric and stops early; "last" trains every epoch and
            keeps the last weights, which the decay to a rate of zero has averaged: better where the validation metric
            is noisier than the gain of stopping.
        patience: evaluations without a better validation metric before training stops.
        eval_every: epochs between two validations (and checkpoints).
        num_processes: 1 trains in the driver's process; more go through Spark's TorchDistributor.
        precision: "bf16" trains under autocast.
    """

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(512, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    user_learning_rate: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    clip_norm: float = Field(5.0, gt=0)
    negatives: int = Field(0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    confidence_penalty: float = 0.0
    consistency: ConsistencyConfig | None = None
    keep: Literal["best", "last"] = "best"
    patience: int = Field(5, ge=1)
    eval_every: int = Field(1, ge=1)
    valid_k: int = Field(10, ge=1)
    valid_users: int = Field(10_000, ge=1)
    num_processes: int = Field(1, ge=1)
    precision: Literal["float32", "bf16"] = "float32"


HOW_IT_LEARNS = frozenset({"training", "dropout", "input_dropout"})
"""Keys of a neural model that say how it learns; models that differ in these alone have the same weights to learn."""


class NeuralConfig(Strict):
    """What all neural models share: scores are inner products of `dim`-dimensional vectors plus an item bias.

    Args:
        item_features: features of `data.items`, and an item's events and age, which every log tells.
        user_features: features of `data.users`.
    """

    dim: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    item_ids: bool = True
    item_features: bool = False
    user_features: bool = False
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _items_have_vectors(self) -> Self:
        if not (self.item_ids or self.item_features):
            raise ValueError("`item_ids` and `item_features` are both off: items would have no vectors")
        return self

    @model_validator(mode="after")
    def _rate_of_what(self) -> Self:
        if not isinstance(self, MFConfig):
            self.training.refuse_idle(["user_learning_rate"], "in a model without free user vectors")
        return self


def apart(one: NeuralConfig, other: NeuralConfig) -> list[str]:
    """Keys in which two models differ, other than in how they learn; in alphabetical order."""
    mine, theirs = one.model_dump(), other.model_dump()
    return sorted(key for key in {*mine, *theirs} - HOW_IT_LEARNS if mine.get(key) != theirs.get(key))


class MFConfig(NeuralConfig):
    """Matrix factorisation with free user vectors (Koren et al., 2009); new users are folded in from their history."""

    kind: Literal["mf"] = "mf"

    @model_validator(mode="after")
    def _no_views_of_histories(self) -> Self:
        if self.training.consistency is not None:
            raise ValueError("`training.consistency` compares views of histories, which mf does not read in training")
        return self


class BagConfig(NeuralConfig):
    """MF whose user vector is a weighted bag of history items (as FISM, Kabbur et al., 2013): no user table.

    The weights are learned, one per recency and dimension.
    """

    kind: Literal["bag"] = "bag"
    history_length: int = Field(50, ge=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)


class SequenceConfig(NeuralConfig):
    """What the encoders of an ordered history share; the last `history_length` items are read."""

    history_length: int = Field(50, ge=1)
    layers: int = Field(1, ge=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)


class GRUConfig(SequenceConfig):
    """GRU over the history (GRU4Rec, Hidasi et al., 2016)."""

    kind: Literal["gru"] = "gru"
    hidden: int | None = Field(None, ge=1)


class LSTMConfig(SequenceConfig):
    """LSTM over the history."""

    kind: Literal["lstm"] = "lstm"
    hidden: int | None = Field(None, ge=1)


class CNNConfig(SequenceConfig):
    """Depthwise-separable causal convolutions with a bottleneck (after NextItNet, Yuan et al., 2019)."""

    kind: Literal["cnn"] = "cnn"
    kernel: int = Field(3, ge=2)
    bottleneck: int | None = Field(None, ge=1)


class TransformerConfig(SequenceConfig):
    """Causal self-attention over the history (SASRec, Kang & McAuley, 2018)."""

    kind: Literal["transformer"] = "transformer"
    layers: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"`heads` {self.heads} does not divide `dim` {self.dim}")
        return self


class TwoTowerConfig(NeuralConfig):
    """Feature two-tower: a bag of recent items and user features against item features (Covington et al., 2016).

    Features are on by default; without `data.users` there are just no user features.
    """

    kind: Literal["two_tower"] = "two_tower"
    history_length: int = Field(50, ge=1)
    hidden: int = Field(64, ge=1)
    user_features: bool = True
    item_features: bool = True
    input_dropout: float = Field(0.0, ge=0, lt=1)


class ItemItemConfig(Strict):
    """What closed-form item-item models share: a user's score for an item sums the weights from the history's items.

    Args:
        recency_decay: input weight of the n-th latest item is recency_decay**n; 1 weighs all alike.
        keep: how many weights each item keeps, those of largest magnitude; None keeps all of them, catalogue squared.
    """

    recency_decay: float = Field(1.0, gt=0, le=1)
    keep: int | None = Field(None, ge=1)


class EASEConfig(ItemItemConfig):
    """Closed-form item-item model (EASE, Steck, WWW'19): B = I - P diag(1/P), P = (X'X + l2 I)^-1."""

    kind: Literal["ease"] = "ease"
    l2: float = Field(250.0, gt=0)


class GFCFConfig(ItemItemConfig):
    """Closed-form graph filter (GF-CF, Shen et al., CIKM'21): a linear low-pass filter and `alpha` times an ideal one.

    Args:
        rank: singular vectors of the ideal low-pass filter.
        alpha: its weight.
    """

    kind: Literal["gfcf"] = "gfcf"
    rank: int = Field(256, ge=1)
    alpha: float = Field(0.3, ge=0)
    keep: int = Field(1000, ge=1)  # type: ignore[assignment]


class ALSConfig(Strict):
    """Spark MLlib's implicit-feedback ALS (Hu, Koren & Volinsky, 2008)."""

    kind: Literal["als"] = "als"
    rank: int = Field(32, ge=1)
    iterations: int = Field(10, ge=1)
    reg: float = Field(0.1, gt=0)
    alpha: float = Field(10.0, gt=0)


class GraphTrainingConfig(TrainingConfig):
    """Optimisation of a graph model, with defaults of its own: every step propagates through the whole graph.

    The cost of that does not depend on the batch, so batches are large: `batch_size` is in edges (pairs of a user and
    an item), and an epoch passes over all of them. `negatives` are the items of the sampled softmax, 0 for a full one.
    """

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(16_384, ge=1)
    learning_rate: float = Field(0.02, gt=0)
    negatives: int = Field(1024, ge=0)


_NOT_OF_A_GRAPH = (
    "user_learning_rate",
    "label_smoothing",
    "confidence_penalty",
    "consistency",
    "num_processes",
    "precision",
)


class LightGCNConfig(Strict):
    """Graph convolution without weights or non-linearities on the user-item graph (LightGCN, He et al., SIGIR'20).

    Args:
        layers: how often vectors are propagated.
        l2: weight of half the squared norm of a step's own vectors, those before propagation, as in the paper.
        loss: "softmax": a step's edges against `training.negatives` shared items (sampled softmax, Wu et al., TOIS'24),
            which needs few epochs; "bpr": each edge against one item that its user has no edge to, as in the paper.
        temperature: the softmax is over cosines divided by this, as that paper advises; null for inner products.
            Recommendations are by inner product either way.
    """

    kind: Literal["lightgcn"] = "lightgcn"
    dim: int = Field(64, ge=1)
    layers: int = Field(3, ge=1)
    l2: float = Field(1e-4, ge=0)
    loss: Literal["softmax", "bpr"] = "softmax"
    temperature: float | None = Field(0.15, gt=0)
    training: GraphTrainingConfig = GraphTrainingConfig()

    @model_validator(mode="after")
    def _keys_of_a_graph(self) -> Self:
        self.training.refuse_idle(_NOT_OF_A_GRAPH, "in lightgcn")
        if self.loss == "bpr":
            self.training.refuse_idle(["negatives"], "with `loss: bpr`")
            self.refuse_idle(["temperature"], "with `loss: bpr`")
        return self


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
        least: share of tonight's items, of those with an event, that it must know.
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


class OpinionConfig(Strict):
    """What is read off an ensemble's members, for each user, to weigh them.

    Args:
        top: how many of its best items make up a member's opinion; items of the history are none.
        items: the opinions are about the most popular items, this many: that bounds what they cost, about
            `items` times the dimensions of all members, per user, beside the scores themselves.
    """

    top: int = Field(100, ge=2)
    items: int = Field(10_000, ge=2)


class AgreementConfig(OpinionConfig):
    """How alike two members' opinions are: by rank-biased overlap (Webber et al., TOIS'10) of their lists of `top`.

    Args:
        persistence: p of that measure, the weight of each depth of the lists relative to the one before; 0.98 gives
            the first 50 items about 86% of the weight in endless lists, 0.9 the first 10.
    """

    persistence: float = Field(0.98, gt=0, lt=1)


class MixtureConfig(OpinionConfig):
    """How a gate is fitted: on the validation events of a sample of users.

    Args:
        users: size of the sample.
        l2: weight of half the squared norm of the gate's weights, which draws it to equal shares.
    """

    users: int = Field(5_000, ge=1)
    l2: float = Field(1e-3, gt=0)


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


StudentConfig = Annotated[
    Union[MFConfig, BagConfig, GRUConfig, LSTMConfig, CNNConfig, TwoTowerConfig, TransformerConfig],
    Field(discriminator="kind"),
]
TrainableConfig = Union[MFConfig, BagConfig, GRUConfig, LSTMConfig, CNNConfig, TwoTowerConfig, TransformerConfig]
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
