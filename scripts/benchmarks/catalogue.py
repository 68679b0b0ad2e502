"""What a loss costs where the catalogue is large: a full softmax against losses on the student's own top items.

Generated data, since only the cost is measured: forward and backward of one step, the items' gradient included, the
optimiser not. What `refresh` finds every few epochs is spread over the steps in between. The ways take turns, and the
median counts.

Legend: B rows, N items, K teacher's top.
"""

from statistics import median
from time import perf_counter
from typing import Any

import torch
from surroundings import machine

from kdspark.config import BagConfig, BagTrainingConfig, DistillConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.objectives import ExampleObjective
from kdspark.models.batch import FeatureSizes, ItemTable, UserBatch
from kdspark.models.build import build_model

NAME = "distill-catalogue"
_ROWS, _DIM, _TOP, _HISTORY, _EPOCHS = 512, 19, 100, 20, 10
_STEPS = 3  # in a turn
_OWN_TOP = {"size": 200, "refresh": _EPOCHS}
_SOFT = {"lambda": 1.0, "hard_weight": 0.0, "candidates": "catalogue"}
_WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "full softmax": (_SOFT, 0),
    f"own top exactly, refresh of {_EPOCHS}": ({**_SOFT, "own_top": _OWN_TOP}, 4096),
    "rce, pool of 10,000": ({"lambda": 0.0, "losses": [{"kind": "rce", "pool": 10_000}]}, 4096),
    f"rce, refresh of {_EPOCHS}": ({"lambda": 0.0, "losses": [{"kind": "rce", "refresh": _EPOCHS}]}, 4096),
}


def run(n_items: int = 1_000_000, repeats: int = 5) -> dict[str, Any]:
    """Seconds of a step for each way, and their ratios to the full softmax."""
    generator = torch.Generator().manual_seed(0)
    objectives = {name: _objective(n_items, *way) for name, way in _WAYS.items()}
    batch = _batch(n_items, generator)
    refreshes, steps = ({name: list[float]() for name in _WAYS} for _ in range(2))
    for _ in range(repeats + 1):  # the first turn warms up
        for name, objective in objectives.items():
            if objective.refresh:
                refreshes[name].append(_seconds(lambda objective=objective: objective.find_own_top([batch], _ROWS)))
                objective.train()
            steps[name] += [_seconds(lambda objective=objective: _step(objective, batch)) for _ in range(_STEPS)]
    rows = []
    for name, objective in objectives.items():
        found = median(refreshes[name][1:]) / objective.refresh if objective.refresh else 0.0
        rows.append({"method": name, "step_seconds": median(steps[name][_STEPS:]), "refresh_seconds_per_step": found})
    full = rows[0]["step_seconds"]
    for row in rows:
        row["cost_vs_full"] = (row["step_seconds"] + row["refresh_seconds_per_step"]) / full
    names = ("own_top_cost", "rce_pool_cost", "rce_refresh_cost")
    ratios = {name: row["cost_vs_full"] for name, row in zip(names, rows[1:], strict=True)}
    return {"bench": NAME, "machine": machine(), "items": n_items, "rows": rows, "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{result['items']:,} items, {_ROWS} rows per step, {result['machine']}"]
    lines += [
        f"{row['method']:30} step {row['step_seconds']:7.3f} s, own top {row['refresh_seconds_per_step']:7.3f} s per "
        f"step, {row['cost_vs_full']:.3f} of the full softmax"
        for row in result["rows"]
    ]
    return "\n".join(lines)


def _objective(n_items: int, distill: dict[str, Any], negatives: int) -> ExampleObjective:
    items = ItemTable.without_features(torch.ones(n_items).numpy())
    training = BagTrainingConfig(negatives=negatives)
    config = BagConfig(dim=_DIM, history_length=_HISTORY, training=training)
    model = build_model(config, _ROWS, n_items, items, FeatureSizes(1, 0, 0), seed=1)
    return ExampleObjective(model, DistillConfig.model_validate(distill), training, top_k=_TOP)


def _batch(n_items: int, generator: torch.Generator) -> ExampleBatch:
    def draw(width: int) -> torch.Tensor:
        return torch.randint(n_items, (_ROWS, width), generator=generator)

    keys = torch.arange(_ROWS)
    nothing, numbers = torch.empty(_ROWS, 0, dtype=torch.int64), torch.empty(_ROWS, 0)
    users = UserBatch(keys, draw(_HISTORY), nothing, numbers, numbers)
    logits = torch.randn(_ROWS, _TOP, generator=generator).sort(dim=1, descending=True).values
    return ExampleBatch(users, draw(1), draw(_TOP), logits, keys=keys)


def _step(objective: ExampleObjective, batch: ExampleBatch) -> None:
    objective.zero_grad(set_to_none=True)
    objective(batch)["loss"].backward()


def _seconds(work: Any) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started
