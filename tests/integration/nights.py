"""Small real nights: a sample of MovieLens-100k's users, models of a few hundred parameters, a handful of epochs."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

ML100K = Path(__file__).parents[2] / "data" / "ml-100k"
DATE = "1998-04-23"


def small_log(folder: Path, users: int = 120) -> Path:
    """The events of the first users of MovieLens-100k, as a tab-separated file; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    log = pd.read_csv(ML100K / "ml-100k.inter", sep="\t")
    path = folder / "events.tsv"
    log[log["user_id:token"] <= users].to_csv(path, sep="\t", index=False)
    return path


def small_config(log: Path, **changes: Any) -> dict[str, Any]:
    """A configuration that trains every part of the night within seconds; `changes` replace top-level sections."""
    source = {"format": "csv", "delimiter": "\t"}
    training = {"epochs": 3, "batch_size": 64, "learning_rate": 0.01, "patience": 2}
    config: dict[str, Any] = {
        "name": "small",
        "seed": 7,
        "data": {
            "interactions": {"paths": str(log), **source},
            "columns": {"user": "user_id:token", "item": "item_id:token", "timestamp": "timestamp:float"},
            "users": {
                "paths": str(ML100K / "ml-100k.user"),
                **source,
                "id": "user_id:token",
                "categorical": ["gender:token", "occupation:token"],
                "numeric": ["age:token"],
            },
            "items": {
                "paths": str(ML100K / "ml-100k.item"),
                **source,
                "id": "item_id:token",
                "multi_valued": {"class:token_seq": " "},
                "numeric": ["release_year:token"],
            },
            "features": {"history_length": 50},
            "examples": {"history_length": 20, "max_positions": 10},
        },
        "teacher": {
            "kind": "ensemble",
            "members": [
                {"kind": "transformer", "dim": 16, "history_length": 50, "item_features": True, "training": training},
                {"kind": "ease"},
            ],
        },
        "student": {"kind": "gru", "dim": 8, "history_length": 20, "training": training},
        "baselines": [{"kind": "als", "rank": 4, "iterations": 2}],
        "soft_labels": {"top_k": 10, "tail": 10, "scoring_inputs": 2},
        "scoring": {"k": 10},
        "evaluation": {"ks": [5, 10], "bootstrap": 100},
        "gate": {"min_ratio_to_popularity": 0.0},
    }
    config.update(changes)
    return config


def write_config(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(config))
    return path
