"""Searches without models: an objective that is computed from its values."""

import math
from pathlib import Path
from typing import Any

from kdspark.config.search import SearchConfig
from kdspark.errors import TrainingError
from kdspark.report.search import TrialRecord
from kdspark.search.loop import Measured, run_trials
from kdspark.search.study import Study

FIELDS: dict[str, Any] = {
    "distill.lambda": {"low": 0.1, "high": 10.0, "log": True},
    "student.dim": {"choices": [8, 16, True, None, [1, 2]]},
    "student.training.epochs": {"low": 5, "high": 40, "step": 5},
}


def space(trials: int = 14, **changes: Any) -> SearchConfig:
    return SearchConfig.model_validate({"fields": FIELDS, "trials": trials, **changes})


class Fake:
    """Best at lambda 1 with 20 epochs. `calls` are the values asked for; the call of number `dies` ends the process."""

    def __init__(self, dies: int = -1, breaks: float = math.inf) -> None:
        self.calls: list[dict[str, Any]] = []
        self.dies, self.breaks = dies, breaks

    def __call__(self, values: dict[str, Any]) -> Measured:
        self.calls.append(values)
        if len(self.calls) - 1 == self.dies:
            raise KeyboardInterrupt
        rate = values["distill.lambda"]
        if rate > self.breaks:
            raise TrainingError("The loss is not finite.", "Lower it.")
        value = 1 - 0.1 * math.log(rate) ** 2 - abs(values["student.training.epochs"] - 20) / 100
        return Measured([value - 0.01, value + 0.01], [3, 5], 100)


def run(folder: Path, search: SearchConfig, objective: Any) -> list[TrialRecord]:
    return run_trials(Study(folder, search), objective)
