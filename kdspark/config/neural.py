"""Neural models, any of which can be a student. `kind` selects the model; each has only its own keys."""

from typing import Annotated, ClassVar, Literal, Union

from pydantic import Field, model_validator
from typing_extensions import Self

from kdspark.config.base import Strict
from kdspark.config.training import TrainingConfig

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

    @model_validator(mode="after")
    def _smoothing_of_a_full_softmax(self) -> Self:
        if self.training.negatives:
            self.training.refuse_idle(["label_smoothing"], "with `negatives`, a softmax that has few of the others")
        return self


def apart(one: NeuralConfig, other: NeuralConfig) -> list[str]:
    """Keys in which two models differ, other than in how they learn; in alphabetical order."""
    mine, theirs = one.model_dump(), other.model_dump()
    return sorted(key for key in {*mine, *theirs} - HOW_IT_LEARNS if mine.get(key) != theirs.get(key))


class MFTrainingConfig(TrainingConfig):
    """Optimisation of free vectors: high rates, highest for users, whose vectors move about once an epoch.

    These values were chosen on validation events of three logs (MovieLens-100k, Amazon Video Games, Gowalla), and are
    the same for all; what differs is how many epochs a user's vector needs, 60 to 80 where each has one row.
    """

    epochs: int = Field(60, ge=1)
    learning_rate: float = Field(0.02, gt=0)
    user_learning_rate: float | None = Field(0.1, gt=0)
    warmup: float = Field(0.02, ge=0, lt=1)
    keep: Literal["best", "last"] = "last"
    eval_every: int = Field(5, ge=1)

    def for_hard_labels(self) -> Self:
        """The same where a value was changed, else what suits events alone on the same three logs.

        Free vectors overfit these within 20 epochs, at half of the users' rate and with weight decay.
        """
        suited = {"epochs": 20, "user_learning_rate": 0.05, "weight_decay": 0.05, "eval_every": 2}
        return self.model_copy(update={name: suited[name] for name in suited.keys() - {*self.changed(*suited)}})


class MFConfig(NeuralConfig):
    """Matrix factorisation with free user vectors (Koren et al., 2009); new users are folded in from their history."""

    kind: Literal["mf"] = "mf"
    training: MFTrainingConfig = MFTrainingConfig()

    @model_validator(mode="after")
    def _no_views_of_histories(self) -> Self:
        if self.training.consistency is not None:
            raise ValueError("`training.consistency` compares views of histories, which mf does not read in training")
        return self


class BagTrainingConfig(TrainingConfig):
    """Optimisation of a bag, which has few weights beside the items' vectors and takes a higher rate."""

    learning_rate: float = Field(0.01, gt=0)


class BagConfig(NeuralConfig):
    """MF whose user vector is a weighted bag of history items (as FISM, Kabbur et al., 2013): no user table.

    The weights are learned, one per recency and dimension.
    """

    kind: Literal["bag"] = "bag"
    history_length: int = Field(50, ge=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)
    training: BagTrainingConfig = BagTrainingConfig()


class SequenceTrainingConfig(TrainingConfig):
    """Optimisation of an encoder of ordered histories.

    A teacher's rows are whole sequences, each with as many targets as it has items, so that a few make a step.
    """

    epochs: int = Field(30, ge=1)
    learning_rate: float = Field(0.003, gt=0)
    largest_batch: ClassVar[int] = 128


class RecurrentTrainingConfig(SequenceTrainingConfig):
    """Optimisation of a recurrent encoder, which takes a higher rate than attention does."""

    learning_rate: float = Field(0.01, gt=0)


class SequenceConfig(NeuralConfig):
    """What the encoders of an ordered history share; the last `history_length` items are read."""

    history_length: int = Field(50, ge=1)
    layers: int = Field(1, ge=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)
    training: SequenceTrainingConfig = SequenceTrainingConfig()


class RecurrentConfig(SequenceConfig):
    """What recurrent encoders share.

    Args:
        hidden: size of the state; None for `dim`.
    """

    hidden: int | None = Field(None, ge=1)
    training: RecurrentTrainingConfig = RecurrentTrainingConfig()


class GRUConfig(RecurrentConfig):
    """GRU over the history (GRU4Rec, Hidasi et al., 2016)."""

    kind: Literal["gru"] = "gru"


class LSTMConfig(RecurrentConfig):
    """LSTM over the history."""

    kind: Literal["lstm"] = "lstm"


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


TrainableConfig = Union[MFConfig, BagConfig, GRUConfig, LSTMConfig, CNNConfig, TwoTowerConfig, TransformerConfig]
StudentConfig = Annotated[TrainableConfig, Field(discriminator="kind")]
