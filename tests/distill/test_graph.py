"""The edges of an epoch, BPR and the penalty by hand, and a training that learns groups, resumes and refuses NaN."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from kdspark.config import LightGCNConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.graph import Edges, GraphObjective, bpr
from kdspark.distill.trainer import Trainer
from kdspark.errors import TrainingError
from kdspark.models.batch import ItemTable
from kdspark.models.lightgcn import LightGCN

USERS, ITEMS, GROUPS = 24, 20, 4
TEMPERATURE = LightGCNConfig().temperature


def matrix() -> sp.csr_matrix:
    """Users like the items of their group but one, which is left to be found."""
    found = np.arange(USERS)[:, None] % GROUPS == np.arange(ITEMS) % GROUPS
    found[np.arange(USERS), hidden()] = False
    return sp.csr_matrix(found.astype(np.float32))


def hidden() -> np.ndarray:
    users = np.arange(USERS)
    return users % GROUPS + GROUPS * (users // GROUPS % (ITEMS // GROUPS))


def make(
    loss: str = "softmax", folder: Path | None = None, temperature: float | None = TEMPERATURE, **training: object
) -> Trainer:
    base = {"epochs": 30, "batch_size": 32, "learning_rate": 0.05} | training
    settings = {"dim": 8, "layers": 2, "loss": loss, "temperature": temperature, "training": base}
    config = LightGCNConfig.model_validate(settings)
    model = LightGCN(config, matrix(), ItemTable.without_features(np.ones(ITEMS, int)), seed=3)
    edges = Edges(matrix(), config.training.batch_size, seed=3)
    return Trainer(
        GraphObjective(model, edges), edges.epoch, edges.steps, edges.batch_size, config.training, seed=3, folder=folder
    )


def first_tries_that_hit(trainer: Trainer) -> float:
    """Share of users whose best item among those they have not seen is the hidden one."""
    with torch.no_grad():
        smoothed = trainer.objective.model.propagate()[0]
    scores = (smoothed[:USERS] @ smoothed[USERS:].T).masked_fill(torch.tensor(matrix().toarray() > 0), -torch.inf)
    return float((scores.argmax(1).numpy() == hidden()).mean())


@pytest.mark.parametrize(
    "settings",
    [{"negatives": 8}, {"negatives": 8, "temperature": None}, {"negatives": 0}, {"loss": "bpr"}],
    ids=["sampled", "inner products", "whole catalogue", "bpr"],
)
def test_learns_what_popularity_cannot_know(settings: dict[str, Any]) -> None:
    trainer = make(**settings)
    result = trainer.fit()
    assert result.curve[-1]["loss"] < 0.75 * result.curve[0]["loss"]
    assert first_tries_that_hit(trainer) > 0.9  # all items have as many events, so popularity would find 1 in 16


def test_an_epoch_has_every_edge_once_in_an_order_of_its_own() -> None:
    edges = Edges(matrix(), 40, seed=1)
    epochs = [list(edges.epoch(number)) for number in (0, 0, 1)]
    assert [len(batch) for batch in epochs[0]] == [40, 40, 16]
    assert len(epochs[0]) == edges.steps
    pairs = [torch.cat([torch.stack([b.users.user_idx, b.targets[:, 0]], 1) for b in epoch]) for epoch in epochs]
    assert sorted(map(tuple, pairs[0].tolist())) == list(zip(*map(list, matrix().nonzero()), strict=True))
    assert torch.equal(pairs[0], pairs[1])
    assert not torch.equal(pairs[0], pairs[2])


def test_bpr_is_the_cross_entropy_of_two_items() -> None:
    users, items, others = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    scores = torch.stack([(users * items).sum(1), (users * others).sum(1)], dim=1)
    usable = torch.tensor([True, True, False, True, False])
    expected = F.cross_entropy(scores[usable], torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(bpr(users, items, others, usable), expected)
    assert float(bpr(users, items, others, usable & False)) == 0.0


def test_the_negatives_of_bpr_are_no_edges() -> None:
    objective = make("bpr").objective
    assert isinstance(objective, GraphObjective)
    users = torch.arange(USERS).repeat(50)
    torch.manual_seed(0)
    others, usable = objective._negatives(users)
    edge = matrix().toarray()[users.numpy(), others.numpy()] > 0
    assert np.array_equal(~edge, usable.numpy())
    assert edge.any()


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_the_softmax_is_over_inner_products_or_cosines(temperature: float | None) -> None:
    trainer = make(temperature=temperature, negatives=0)
    batch: ExampleBatch = next(iter(trainer.epochs(0)))
    found = trainer.objective(batch)["hard"]
    smoothed = trainer.objective.model.propagate()[0].detach()
    users, items = smoothed[batch.users.user_idx], smoothed[USERS:]
    scores = users @ items.T
    if temperature is not None:
        scores = scores / users.norm(dim=1)[:, None] / items.norm(dim=1) / temperature
    torch.testing.assert_close(found, F.cross_entropy(scores, batch.targets[:, 0]))


def test_the_penalty_is_half_the_squared_norm_of_the_first_vectors() -> None:
    trainer = make(negatives=0)
    objective = trainer.objective
    batch: ExampleBatch = next(iter(trainer.epochs(0)))
    parts = objective(batch)
    vectors = objective.model.vectors.detach()
    rows = torch.cat([vectors[batch.users.user_idx], vectors[USERS + batch.targets[:, 0]]])
    torch.testing.assert_close(parts["loss"].detach() - parts["hard"], 0.5e-4 * rows.square().sum() / len(batch))


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_resumed_training_equals_uninterrupted_to_the_bit(tmp_path: Path, loss: str) -> None:
    settings = {"epochs": 5} | ({"negatives": 8} if loss == "softmax" else {})
    whole = make(loss, **settings)
    expected = whole.fit().curve
    killed, resumed = make(loss, tmp_path, **settings), make(loss, tmp_path, **settings)
    order = killed.epochs

    def until_killed(epoch: int) -> Iterator[ExampleBatch]:
        if epoch == 3:
            raise InterruptedError
        yield from order(epoch)

    killed.epochs = until_killed
    with pytest.raises(InterruptedError):
        killed.fit()
    found = resumed.fit().curve
    assert [row["loss"] for row in found] == [row["loss"] for row in expected]
    assert torch.equal(resumed.objective.model.vectors, whole.objective.model.vectors)


def test_a_checkpoint_of_another_penalty_is_not_used() -> None:
    digests = {make("bpr").objective.digest(), make().objective.digest(), make(negatives=8).objective.digest()}
    assert len(digests) == 3


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    trainer = make()
    with torch.no_grad():
        trainer.objective.model.vectors[0, 0] = torch.nan
    with pytest.raises(TrainingError, match="not finite in epoch 1, step 1"):
        trainer.fit()
