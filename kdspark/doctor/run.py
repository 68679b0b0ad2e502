"""`kdspark doctor`: all checks, as a table or as JSON, and the exit code."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from kdspark.config import load_config
from kdspark.doctor import cluster, machine, storage, versions
from kdspark.doctor.check import Finding, Patient, examine

UNFIT = 9
"""Exit code where a check failed."""


def run_doctor(
    config: str | None, root: str | None, overrides: Sequence[str] = (), as_json: bool = False
) -> tuple[str, int]:
    """Make all checks.

    Args:
        config, root: as for a night; what needs one that is not given is not looked at.

    Returns:
        What to print, and the exit code: 0, or UNFIT where a check failed.

    Raises:
        ConfigError: the configuration is not valid.
    """
    from kdspark.spark.session import build_session

    read = load_config(config, overrides) if config is not None else None
    patient = Patient(read, Path(root) if root else None, lambda spark: build_session(spark, "kdspark doctor"))
    found = examine(patient, [versions, machine, storage, cluster])
    code = UNFIT if any(finding.status == "FAIL" for finding in found) else 0
    return json.dumps([asdict(one) for one in found], indent=2) if as_json else table(found), code


def table(found: Sequence[Finding]) -> str:
    """A line per finding, and below it what to do; what has to be done first is counted at the end."""
    width = max(len(one.check) for one in found)
    lines = []
    for one in found:
        lines.append(f"{one.status:8} {one.check:{width}}  {one.found}")
        if one.remedy:
            lines.append(f"{'':8} {'':{width}}  -> {one.remedy}")
    counts = {status: sum(one.status == status for one in found) for status in ("ok", "warning", "FAIL")}
    return "\n".join([*lines, ", ".join(f"{count} {status}" for status, count in counts.items() if count)])
