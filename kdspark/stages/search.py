"""search: trials of a night's stages up to one training, compared by its metric on the validation events.

Stages that a trial's values do not change are found, not run again. Nothing here reads a test event: models are trained
and measured in the scope "train".
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdspark.config import parse_config
from kdspark.config.load import read_yaml
from kdspark.config.search import SearchConfig, load_search
from kdspark.errors import ConfigError
from kdspark.report.search import (
    BEST,
    SEARCH,
    SEARCH_REPORT,
    SearchRecord,
    best_configuration,
    best_trial,
    one_line,
    overrides_of,
    search_table,
)
from kdspark.report.search_html import write_search_report
from kdspark.search.loop import run_trials
from kdspark.search.study import Study
from kdspark.stages.pipeline import stages_of, start_session
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.stages.trial import TARGETS, Trials, metric_name, stages_up_to
from kdspark.workspace import (
    TrialWorkspace,
    Workspace,
    digest_of,
    exclusive,
    inside,
    parse_date,
    refuse_held,
    write_bytes,
    write_json,
)


def run_search(
    config_path: str, search_path: str, date: str, root: str, trials: int | None, overrides: Sequence[str]
) -> str:
    """The verb: search, or go on with a search, and write its report; returns the table of trials for a terminal.

    Raises:
        KdsparkError: with the remedy, as `search_night` and the readers of the files do.
    """
    raw = read_yaml(config_path)
    config = parse_config(raw, overrides, source=config_path)  # puts the overrides into `raw`
    search = load_search(search_path, trials)
    os.umask(config.privacy.mask)
    night = Night(config, parse_date(date), Workspace(root), lambda: start_session(config))
    record, folder = search_night(night, raw, search)
    return f"{search_table(record)}\n\nBest values: {folder / BEST}\nReport: {folder / SEARCH_REPORT}"


def search_night(night: Night, raw: Mapping[str, Any], search: SearchConfig) -> tuple[SearchRecord, Path]:
    """Run a search on a night; returns its record, and the folder of search.json, report.html and best.yaml.

    A search is found again by what determines its values: the search file (but for `trials` and `keep`), the date, the
    logs, and all that the target of the configuration depends on.

    Args:
        night: of the configuration as it is.
        raw: the mapping that this configuration was parsed from. Values are put into it, and not into the parsed
            configuration, so that a section which changes its kind does not keep the defaults of the other kind.

    Raises:
        ConfigError: the split leaves no validation events.
        StageError: another process runs this search.
        TrainingError: every trial failed.
    """
    if not night.config.data.split.wants_validation:
        raise ConfigError(
            "A search compares models on the validation events, and this split has none.",
            "Set `data.split.valid_fraction`, or name a `data.split.valid`.",
        )
    runner = Runner(night, stages_of(night.config))
    keys = [runner.key(name) for name in stages_up_to(TARGETS[search.target], runner.stages)]
    root = night.workspace.root
    folder = inside(root, root / "search" / _name(night, raw, search, keys[-1]))
    with exclusive(folder / "lock", "This search"):
        refuse_held(night.workspace.erasing, "Users are being erased")
        workspace = TrialWorkspace(night.workspace.root, folder, keys)
        trials = Trials(replace(night, workspace=workspace, start_session=lambda: night.spark), raw, search)
        study = Study(folder, search)
        try:
            run_trials(study, trials.measure, lambda: workspace.trim(search.keep))
        finally:
            record = _record(night, search, study, folder.name)
            write_json(folder / SEARCH, record)
        write_bytes(folder / BEST, best_configuration(raw, record).encode())
        write_search_report(folder / SEARCH_REPORT, record)
    return record, folder


def _name(night: Night, raw: Mapping[str, Any], search: SearchConfig, key: str) -> str:
    sections = {field.partition(".")[0] for field in search.fields}
    facts = {
        "search": search.model_dump(mode="json", exclude={"trials", "keep"}),
        "order": list(search.fields),
        "date": night.date.isoformat(),
        "key": key,
        "around": {section: one_line(raw.get(section)) for section in sections},  # what values are put into
        "metric": metric_name(night.config),
        "users": night.config.student.training.valid_users,
    }
    return f"{night.config.name}-{digest_of(facts)[:12]}"


def _record(night: Night, search: SearchConfig, study: Study, name: str) -> SearchRecord:
    trials = study.trials()
    best = best_trial(trials)
    return SearchRecord(
        name=name,
        date=night.date.isoformat(),
        target=search.target,
        metric=metric_name(night.config),
        sampler=search.sampler,
        seed=search.seed,
        repeats=search.repeats,
        fields={key: field.model_dump(mode="json") for key, field in search.fields.items()},
        trials=trials,
        best=best["number"] if best else None,
        importances=study.importances(),
        overrides=overrides_of(best["parameters"]) if best else [],
    )
