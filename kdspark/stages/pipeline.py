"""The order of the night, and which stages each verb runs."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kdspark.config import Config, load_config
from kdspark.report.comparison import REPORT
from kdspark.spark.full_disk import full_disks
from kdspark.stages import assistant, baselines, evaluate, labels, prepare, publish, score, student, teacher
from kdspark.stages.arrived import check_arrived
from kdspark.stages.record import record_run
from kdspark.stages.recorded import record_missed, recorded
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night, Stage
from kdspark.workspace import Workspace, held, parse_date, refuse_held

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("kdspark")

_PUBLISHING = ("run", "publish")


def stages_of(config: Config) -> dict[str, Stage]:
    """All stages of a night, in the order in which they run. With `refit`, teacher and student are trained a second
    time on every event of the night, with the epochs that validation chose."""
    stages = [
        prepare.STAGE,
        baselines.STAGE,
        teacher.stage("train"),
        labels.stage("train"),
        *assistant.stages("train", config),
        student.plain_stage(),
        student.stage("train", config),
    ]
    if config.refit:
        stages += [teacher.stage("full"), labels.stage("full"), *assistant.stages("full", config)]
        stages += [student.stage("full", config)]
    stages += [score.stage(config), evaluate.stage(config), publish.STAGE]
    return {stage.name: stage for stage in stages}


def run_verb(
    verb: str,
    config_path: str,
    date: str,
    root: str,
    overrides: Sequence[str],
    force: bool = False,
    accept_schema: bool = False,
) -> None:
    """Run one verb of the CLI.

    Args:
        verb: "run" for the whole night, else the verb of its stages.
        force, accept_schema: see `Night`.

    Raises:
        KdsparkError: with the remedy; nothing that was published has changed.
    """
    config = load_config(config_path, overrides)
    os.umask(config.privacy.mask)  # of this process, and of those that it starts
    if config.privacy.pseudonyms is not None:
        config.privacy.pseudonyms.key()  # before anything is written: it may be missing
    night = Night(config, parse_date(date), Workspace(root), lambda: start_session(config), force, accept_schema)
    if is_done(night, verb):
        _remove_left(night)  # by the run that published, if it was killed before its end
        return
    with full_disks(night.places), held(night.workspace.lease(night.date), f"The night of {night.date}") as lease:
        refuse_held(night.workspace.erasing, "Users are being erased")
        _remove_left(night)
        if not is_done(night, verb):  # meanwhile
            run_night(replace(night, lease=lease), verb)


def _remove_left(night: Night) -> None:
    night.workspace.remove_left()
    night.publication.remove_left()


def is_done(night: Night, verb: str) -> bool:
    """Whether a verb that publishes has nothing to do, since the date is published; said in the log."""
    published = night.publication.of(night.date) if verb in _PUBLISHING and not night.force else None
    if published is None:
        return False
    other = published.manifest.get("config") != publish.config_digest(night.config)
    record_missed(night, published)
    log.info(
        "%-14s %s is published as run %s%s; nothing to do. `--force` makes a new run.",
        *("done", night.date, published.run_id, ", with another configuration" if other else ""),
    )
    return True


def run_night(night: Night, verb: str = "run") -> Runner:
    """Run a verb's stages of a night and return the runner, which knows the outputs' folders."""
    runner = Runner(night, stages_of(night.config))
    with recorded(runner, verb in _PUBLISHING):
        _run_stages(runner, verb)
    return runner


def _run_stages(runner: Runner, verb: str) -> None:
    night = runner.night
    wanted = [name for name, stage in runner.stages.items() if verb in ("run", stage.verb)]
    if labels.name("train") in wanted:
        teacher.check_vectors(night.config)
    if prepare.NAME in wanted:
        runner.run([prepare.NAME])
    if not {prepare.NAME, publish.NAME}.isdisjoint(wanted):
        check_arrived(night, runner.manifest(prepare.NAME))
    prepare.check_lists_fit(night.config, runner.manifest(prepare.NAME))
    runner.run(name for name in wanted if name not in (prepare.NAME, publish.NAME))
    if evaluate.NAME in wanted:
        log.info("%-14s %s", "report", record_run(runner) / REPORT)
    runner.run(name for name in wanted if name == publish.NAME)


def start_session(config: Config) -> "SparkSession":
    """The night's Spark session; Spark is imported only when it is started."""
    from kdspark.spark.session import build_session

    return build_session(config.spark, f"kdspark {config.name}", config.privacy.umask)
