"""The loop of a search: ask for values, measure them, write down what came of it."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kdspark.errors import ConfigError, ModelError, TrainingError
from kdspark.report.search import TrialRecord, best_trial, overrides_of
from kdspark.search.study import Study

log = logging.getLogger("kdspark")

# What a set of values can do wrong. Anything else, such as a missing log, would go wrong with every set.
FAILURES = (ConfigError, TrainingError, ModelError)


@dataclass(frozen=True)
class Measured:
    """What a measurement found, per repeat: the metric, larger is better, and the epoch kept; and the model's size."""

    values: list[float]
    epochs: list[int]
    weights: int


Objective = Callable[[dict[str, Any]], Measured]


def run_trials(study: Study, objective: Objective, tidy: Callable[[], None] = lambda: None) -> list[TrialRecord]:
    """Try values until the search has its `trials`, or a grid no more points; returns all trials.

    A trial that fails is written down with its reason, and the search goes on. Values that were tried before are not
    measured again: the answer would be the same.

    Args:
        objective: from dotted key -> value to what was measured.
        tidy: called after every trial that is written down.

    Raises:
        TrainingError: every trial failed.
    """
    wanted = study.search.trials
    while len(trials := study.trials()) < wanted:
        values = study.ask()
        if values is None:
            log.info("%-14s the grid has no more than %d points", "search", len(trials))
            break
        log.info("%-14s trial %d of %d: %s", "search", len(trials), wanted, ", ".join(overrides_of(values)))
        twin = next((trial for trial in trials if trial["parameters"] == values), None)
        outcome = _outcome(twin) if twin is not None else _try(objective, values)
        study.tell(outcome)
        tidy()
        _log_outcome(len(trials), outcome, study.trials())
    if best_trial(trials) is None:
        raise TrainingError(
            f"All {len(trials)} trials of the search failed; the first: {trials[0]['reason']}",
            "Change the search file's `fields`, or what the configuration has beside them.",
        )
    return trials


def _try(objective: Objective, values: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    found, reason = Measured([], [], 0), ""
    try:
        found = objective(values)
        if not all(map(math.isfinite, found.values)):
            reason = f"The validation metric is not finite: {found.values}."
    except FAILURES as error:
        reason = str(error)
    return {
        "value": None if reason else sum(found.values) / len(found.values),
        "values": [] if reason else found.values,
        "epochs": found.epochs,
        "weights": found.weights,
        "seconds": round(time.monotonic() - started, 3),
        "reason": reason,
    }


def _outcome(twin: TrialRecord) -> dict[str, Any]:
    same = {key: twin[key] for key in ("value", "values", "epochs", "weights", "reason")}  # type: ignore[literal-required]
    return {**same, "seconds": 0.0}


def _log_outcome(number: int, outcome: dict[str, Any], trials: list[TrialRecord]) -> None:
    if outcome["value"] is None:
        log.warning("%-14s trial %d failed: %s", "search", number, outcome["reason"])
        return
    best = best_trial(trials)
    assert best is not None
    known = f"best {best['value']:.4f} in trial {best['number']}"
    log.info("%-14s trial %d: %.4f, %s, %.1f s", "search", number, outcome["value"], known, outcome["seconds"])
