"""The trainer on two processes: equal weights on both ranks, and one rank's validation decides for both."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from kdspark.config import BagConfig, BagTrainingConfig, DistillConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.objectives import ExampleObjective
from kdspark.distill.trainer import Trainer
from kdspark.models.batch import FeatureSizes, UserBatch
from kdspark.models.build import build_model
from tests.models import zoo

WORLD = 2
TRAINING = BagTrainingConfig(epochs=6, batch_size=8, learning_rate=0.02, patience=2)
CONFIG = BagConfig(dim=8, dropout=0.2, training=TRAINING)

LOSSES = [{"kind": "rrd"}, {"kind": "de", "rows": "users"}, {"kind": "rce", "top": 4, "reach": 8, "refresh": 2}]
SCHEDULES = [{"kind": "agreement"}, {"kind": "feedback", "up": 2.0, "down": 0.5}]
DISTILL = DistillConfig.model_validate({"lambda": 0.5, "losses": LOSSES, "lambda_schedule": SCHEDULES})
TEACHER = torch.randn(zoo.N_ITEMS, 6, generator=torch.Generator().manual_seed(4))


def _rows(rank: int) -> ExampleBatch:
    start = torch.arange(8)[:, None] + 8 * rank
    empty = torch.zeros(8, 0)
    users = UserBatch(start[:, 0], start, empty.long(), empty, empty)
    candidates = (start + torch.arange(1, 7)) % zoo.N_ITEMS
    logits = torch.arange(6, 0, -1).float().expand(8, 6)
    return ExampleBatch(users, (start + 1) % zoo.N_ITEMS, candidates, logits, TEACHER[start[:, 0]], start[:, 0])


def _train(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    model = build_model(CONFIG, 16, zoo.N_ITEMS, zoo.items(), FeatureSizes(), seed=1)
    objective = ExampleObjective(model, DISTILL, CONFIG.training, 4, teacher_items_NE=TEACHER, seed=1)
    metrics = iter([0.1, 0.5, 0.3, 0.2, 0.9, 0.9])  # asked of rank 0 alone: stops after four, keeps the second

    def validate(_: object) -> float:
        assert rank == 0
        return next(metrics)

    def epochs(_: int) -> Iterator[ExampleBatch]:
        yield _rows(rank)

    checkpoints = Path(folder) / f"checkpoints-{rank}"
    result = Trainer(objective, epochs, 1, 8, CONFIG.training, 3, validate, checkpoints).fit()
    lambdas = [row["lambda"] for row in result.curve]
    facts = {"best": result.best_epoch, "lambdas": lambdas, "saved": checkpoints.exists()}
    torch.save((facts, objective.state_dict()), f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_end_with_the_same_model(tmp_path: Path) -> None:
    mp.spawn(_train, args=(str(tmp_path),), nprocs=WORLD)  # type: ignore[no-untyped-call]
    (facts_0, weights_0), (facts_1, weights_1) = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(WORLD))
    lambdas = [0.5, 0.5, 1.0, 0.5]  # by what the validations before said, on both ranks
    assert facts_0 == {"best": 2, "lambdas": lambdas, "saved": True}
    assert facts_1 == {"best": 2, "lambdas": lambdas, "saved": False}  # only rank 0 writes
    model = build_model(CONFIG, 16, zoo.N_ITEMS, zoo.items(), FeatureSizes(), seed=1)
    objective = ExampleObjective(model, DISTILL, CONFIG.training, 4, teacher_items_NE=TEACHER, seed=1)
    start = objective.state_dict()
    assert weights_0.keys() == weights_1.keys() == start.keys()
    for name, tensor in weights_0.items():
        assert torch.equal(weights_1[name], tensor)
    for part in ("model.", "terms."):
        assert any(not torch.equal(start[name], weights_0[name]) for name in start if name.startswith(part))
