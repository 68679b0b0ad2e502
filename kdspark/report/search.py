"""A search's record: the shape of search.json, a text table of it, and its best values as a configuration.

The search writes it; the command line and the HTML report read it.
"""

import copy
import shlex
from collections.abc import Mapping
from typing import Any, Literal

import yaml
from typing_extensions import TypedDict

from kdspark.config.load import set_key
from kdspark.report.comparison import aligned

SEARCH, SEARCH_REPORT, BEST = "search.json", "report.html", "best.yaml"


class TrialRecord(TypedDict):
    """One set of values and what came of it.

    Keys:
        number: from 0, in the order in which they were decided.
        state: "done", or "failed" for one whose configuration does not fit or whose training had to stop.
        value: the mean of `values`; None if it failed.
        values: the validation metric of each repeat.
        parameters: dotted key -> value.
        epochs: the epoch that each repeat kept; 0 without epochs.
        weights: how many the model has.
        seconds: wall time, with that of the stages which this trial was the first to need.
        reason: of a failure.
    """

    number: int
    state: Literal["done", "failed"]
    value: float | None
    values: list[float]
    parameters: dict[str, Any]
    epochs: list[int]
    weights: int
    seconds: float
    reason: str


class SearchRecord(TypedDict):
    """A search so far. `fields` is the search file's; `best` the number of the best trial, `overrides` its values as
    --set takes them; `importances` may be {}."""

    name: str
    date: str
    target: str
    metric: str
    sampler: str
    seed: int
    repeats: int
    fields: dict[str, dict[str, Any]]
    trials: list[TrialRecord]
    best: int | None
    importances: dict[str, float]
    overrides: list[str]


def best_trial(trials: list[TrialRecord]) -> TrialRecord | None:
    """The trial of the largest value, the earliest of equal ones; None if all failed."""
    done = [trial for trial in trials if trial["value"] is not None]
    return max(done, key=lambda trial: trial["value"] or 0.0, default=None)


def ranked(trials: list[TrialRecord]) -> list[TrialRecord]:
    """Best first; the failed ones at the end, in the order in which they were tried."""
    done = [trial for trial in trials if trial["value"] is not None]
    failed = [trial for trial in trials if trial["value"] is None]
    return sorted(done, key=lambda trial: -(trial["value"] or 0.0)) + failed


def shown(value: Any) -> str:
    """A parameter's value, short."""
    return f"{value:.4g}" if isinstance(value, float) else one_line(value)


def one_line(value: Any) -> str:
    """A value as YAML in one line, which --set reads back as the same value."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def overrides_of(parameters: Mapping[str, Any]) -> list[str]:
    """`dotted.key=value` for each parameter, as --set takes them."""
    return [f"{key}={one_line(value)}" for key, value in parameters.items()]


def options_of(record: SearchRecord) -> list[str]:
    """The best values as options of the command line, quoted for a shell."""
    return [f"--set {shlex.quote(override)}" for override in record["overrides"]]


def search_table(record: SearchRecord) -> str:
    """Trials as text, best first: value, parameters, epochs kept, seconds; then why trials failed."""
    keys = list(record["fields"])
    trials = ranked(record["trials"])
    rows = [["trial", record["metric"], *keys, "epochs", "seconds"], *(_cells(trial, keys) for trial in trials)]
    reasons = [f"trial {trial['number']} failed: {trial['reason']}" for trial in trials if trial["state"] == "failed"]
    return "\n".join([*aligned(rows), *([""] if reasons else []), *reasons])


def _cells(trial: TrialRecord, keys: list[str]) -> list[str]:
    value = "failed" if trial["value"] is None else f"{trial['value']:.4f}"
    parameters = [shown(trial["parameters"][key]) for key in keys]
    return [str(trial["number"]), value, *parameters, epochs_of(trial), f"{trial['seconds']:.1f}"]


def epochs_of(trial: TrialRecord) -> str:
    """Epochs kept, the mean over repeats; "-" for what has none."""
    epochs = trial["epochs"]
    return f"{sum(epochs) / len(epochs):g}" if any(epochs) else "-"


def best_configuration(raw: Mapping[str, Any], record: SearchRecord) -> str:
    """The searched configuration with the best values in place, as YAML for --config.

    The values alone, as options, are in the comment on top.

    Args:
        raw: the configuration that was searched, as parsed from YAML.
    """
    best = best_trial(record["trials"])
    assert best is not None
    changed = copy.deepcopy(dict(raw))
    for key, value in best["parameters"].items():
        set_key(changed, key, value)
    head = [f"{record['metric']} {best['value']:.6f} on validation, trial {best['number']} of search {record['name']}"]
    head += options_of(record)
    comment = "".join(f"# {line}\n" for line in head)
    return comment + yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
