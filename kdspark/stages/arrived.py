"""A look at what has arrived, before anything is trained on it: a bad day costs no night."""

import logging

from kdspark.config import GateConfig
from kdspark.errors import BlockedError, EmptyDayError
from kdspark.stages import gate
from kdspark.stages.health import of_inputs
from kdspark.stages.stage import Night
from kdspark.workspace import Manifest

log = logging.getLogger("kdspark")


def check_arrived(night: Night, prepared: Manifest) -> None:
    """Compare the day's events and the shares of missing values with those of the last published nights.

    Args:
        prepared: manifest of the night's stage prepare.

    Raises:
        EmptyDayError: the log has no event of the night's own day, and the nights before had some.
        BlockedError: it is otherwise not as usual.
    """
    config: GateConfig = night.config.gate
    runs = night.publication.earlier(night.date, config.volume_nights)
    earlier = [run.manifest.get("health", {}) for run in runs]
    health = of_inputs(prepared.rows, prepared.facts, earlier)
    found = gate.checks(config, health, earlier)
    reasons = gate.blocked(found)
    if health["empty_day"] and reasons is None:
        log.warning("%-14s the log has no event of %s", "arrived", night.date)
    if reasons is None:
        return
    if night.force:
        log.warning("%-14s forced: %s", "arrived", reasons)
        return
    if not all(check.passed for check in found if check.key == gate.EMPTY):
        paths = ", ".join(night.config.data.interactions.paths)
        raise EmptyDayError(
            f"{paths}: the log has no event of {night.date} (UTC), and those of the nights before had some. "
            "Nothing was published.",
            "Run again when the day's files are there; `gate.on_empty_day` says what else to do.",
        )
    raise BlockedError(
        f"The night is blocked before training: {reasons}. Nothing was published.",
        "Correct the log and run again; go on with `--force`, which is recorded, only if you accept this.",
        health,
    )
