"""LightGCN, and how it is trained."""

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from kdspark.config.base import Strict
from kdspark.config.training import TrainingConfig


class GraphTrainingConfig(TrainingConfig):
    """Optimisation of a graph model, with defaults of its own: every step propagates through the whole graph.

    The cost of that does not depend on the batch, so batches are large: `batch_size` is in edges (pairs of a user and
    an item), and an epoch passes over all of them. `negatives` are the items of the sampled softmax, 0 for a full one.
    """

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(16_384, ge=1)  # type: ignore[assignment]  # never null
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
