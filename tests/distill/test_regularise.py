"""Regularisers as parts of the loss of both objectives."""

import dataclasses
from typing import Any

import pytest
import torch

from kdspark.config import ConsistencyConfig, DistillConfig, TrainingConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.losses import confidence_penalty
from kdspark.distill.objectives import ExampleObjective
from kdspark.distill.regularise import consistency_loss
from kdspark.distill.sequences import SequenceObjective
from tests.models import zoo

HARD = DistillConfig.model_validate({"lambda": 0.0})
READERS = ["bag", "two_tower", *zoo.CAUSAL]


def training(**values: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(values)


def rows() -> ExampleBatch:
    return ExampleBatch(zoo.batch(4), torch.tensor([[3], [4], [5], [6]]))


def objective(name: str, kind: str, config: TrainingConfig) -> ExampleObjective | SequenceObjective:
    model = zoo.ZOO[name]()
    return ExampleObjective(model, HARD, config) if kind == "examples" else SequenceObjective(model, config, 6)


@pytest.mark.parametrize("kind", ["examples", "sequences"])
@pytest.mark.parametrize("negatives", [0, 8])
def test_regularisers_join_the_sum_with_their_weights(kind: str, negatives: int) -> None:
    torch.manual_seed(0)  # of the views
    config = training(negatives=negatives, confidence_penalty=0.5, consistency={"weight": 2.0})
    parts = objective("gru", kind, config)(rows())
    assert list(parts) == ["loss", "hard", "confidence", "consistency"]
    expected = parts["hard"] + 0.5 * parts["confidence"] + 2 * parts["consistency"]
    torch.testing.assert_close(parts["loss"].detach(), expected)
    assert float(parts["confidence"]) < 0 < float(parts["consistency"])


def test_the_confidence_is_that_of_the_catalogue_without_what_is_known() -> None:
    model, batch = zoo.ZOO["bag"](), rows()
    parts = ExampleObjective(model, HARD, training(confidence_penalty=1.0))(batch)
    items_ND = model.encode_items()
    scores = model.encode_users(batch.users, items_ND) @ items_ND.T
    for row in range(4):
        for item in set(batch.users.history[row].tolist()) - {-1, int(batch.targets[row])}:
            scores[row, item] = -torch.inf
    torch.testing.assert_close(parts["confidence"], confidence_penalty(scores).detach())


def test_a_penalty_makes_the_output_less_sure() -> None:
    found = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        config = training(confidence_penalty=weight)
        made = ExampleObjective(zoo.ZOO["bag"](), HARD, config)
        optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
        for _ in range(40):
            optimizer.zero_grad()
            made(rows())["loss"].backward()
            optimizer.step()
        found.append(float(ExampleObjective(made.model, HARD, training(confidence_penalty=1.0))(rows())["confidence"]))
    assert found[1] < found[0] - 0.5  # nats of entropy


def test_memory_of_a_penalty_is_that_of_the_softmax() -> None:
    model, n = zoo.ZOO["bag"](), zoo.N_ITEMS
    soft = DistillConfig.model_validate({"lambda": 1.0, "hard_weight": 0.0, "candidates": "candidates"})
    assert ExampleObjective(model, soft, training()).step_bytes(10) == 0
    assert ExampleObjective(model, soft, training(confidence_penalty=0.1)).step_bytes(10) == 10 * n * 21


@pytest.mark.parametrize("measure", [{"items": zoo.N_ITEMS}, {"measure": "vectors"}], ids=["scores", "vectors"])
@pytest.mark.parametrize("name", READERS)
def test_consistency_has_finite_gradients_and_sees_the_views(name: str, measure: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = zoo.ZOO[name]()  # in evaluation mode: no dropout, so that the views alone differ
    config = ConsistencyConfig.model_validate({**measure, "substitute": 0.3})
    loss = consistency_loss(model, zoo.batch(6), model.encode_items(), config)
    assert float(loss.detach()) > 0
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("measure", [{"items": zoo.N_ITEMS}, {"measure": "vectors"}], ids=["scores", "vectors"])
def test_users_without_a_history_do_not_count(measure: dict[str, object]) -> None:
    config = ConsistencyConfig.model_validate({**measure, "crop": 0.5, "mask": 0.0})
    model, users = zoo.ZOO["bag"](), zoo.batch(4)
    history = torch.full_like(users.history, -1)
    empty = dataclasses.replace(users, history=history)
    assert float(consistency_loss(model, empty, model.encode_items(), config).detach()) == 0
    single = history.clone()
    single[:, -1] = 5  # one item: every view of it is the history itself
    alone = dataclasses.replace(users, history=single)
    found = consistency_loss(model, alone, model.encode_items(), config)
    assert float(found.detach()) == pytest.approx(0, abs=1e-6)


def test_minimising_it_draws_the_views_together() -> None:
    torch.manual_seed(0)
    model = zoo.ZOO["gru"]()
    config = ConsistencyConfig(measure="vectors", crop=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    curve = []
    for _ in range(50):
        loss = consistency_loss(model, zoo.batch(6), model.encode_items(), config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(loss.detach()))
    assert sum(curve[-10:]) < 0.5 * sum(curve[:10])
