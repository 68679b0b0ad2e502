"""A night of forty users and a few hundred weights."""

from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

from kdspark.config import parse_config
from kdspark.stages.pipeline import stages_of
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace, parse_date


def tiny_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """Its log, written into the folder: users walk through 25 items from starts and by steps of their own."""
    rows = [(u, (u * 7 + n * (1 + u % 3)) % 25, n + 1) for u in range(40) for n in range(8)]
    pd.DataFrame(rows, columns=["u", "i", "t"]).to_csv(folder / "log.csv", index=False)
    training = {"epochs": 2, "learning_rate": 0.05}
    config: dict[str, Any] = {
        "data": {
            "interactions": {"paths": str(folder / "log.csv"), "format": "csv"},
            "columns": {"user": "u", "item": "i", "timestamp": "t"},
            "features": {"history_length": 8},
            "examples": {"history_length": 8, "max_positions": 3},
        },
        "teacher": {"kind": "gru", "dim": 6, "history_length": 8, "training": training},
        "student": {"kind": "bag", "dim": 3, "history_length": 8, "training": training},
        "baselines": [],
        "soft_labels": {"top_k": 5, "tail": 5},
        "scoring": {"k": 5},
        "evaluation": {"ks": [5], "bootstrap": 100},
        "gate": {"metric": "ndcg@5"},
    }
    return {**config, **changes}


def runner_of(spark: SparkSession, root: Path, config: dict[str, Any]) -> Runner:
    made = parse_config(config)
    return Runner(Night(made, parse_date("2024-01-02"), Workspace(root), lambda: spark), stages_of(made))
