"""baselines: what every night is measured against: popularity, and the configured classics (MLlib ALS, EASE)."""

from typing import Any

from kdspark.bridge.items import serving_bundle
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import Request
from kdspark.bridge.training import train_recommender
from kdspark.config import PopularityConfig
from kdspark.stages import prepare
from kdspark.stages.stage import Night, Outcome, Stage, Task

NAME = "baselines"


def _settings(night: Night) -> object:
    return {"baselines": [config.model_dump(mode="json") for config in night.config.baselines]}


def _build(task: Task) -> Outcome:
    prepared = Prepared(task.inputs[prepare.NAME])
    rows: dict[str, int] = {}
    facts: dict[str, Any] = {}
    for config in [PopularityConfig(), *task.night.config.baselines]:
        request = Request(prepared, "train", task.checkpoints / config.kind, task.night.config.seed)
        trained = train_recommender(task.night.spark, config, request, task.out / config.kind / "model")
        items = prepared.items("train")
        serving_bundle(task.out / config.kind / "model", items, items, task.out / config.kind / "serving")
        rows |= trained.rows
        facts[config.kind] = trained.facts()
    return Outcome(rows=rows, facts=facts)


STAGE = Stage(NAME, "evaluate", (prepare.NAME,), _settings, _build)
