"""Reading what a night left behind: the comparison of its models, and the published table. Starts no Spark."""

import json
from pathlib import Path

from kdspark.errors import StageError
from kdspark.report.comparison import COMPARISON, REPORT, Comparison, as_json, table
from kdspark.workspace import Workspace, latest_published, parse_date, read_json


def compare_night(root: str, date: str, json_output: bool) -> str:
    """The newest evaluated run of a date, as a text table or as JSON.

    Raises:
        StageError: there is none.
    """
    folder = existing(root).newest_run(parse_date(date))
    comparison: Comparison = read_json(folder / COMPARISON)
    if json_output:
        return json.dumps(as_json(comparison), indent=2, allow_nan=False)
    return f"{table(comparison)}\n\nReport: {folder / REPORT}"


def latest_table(root: str) -> Path:
    """Folder of the newest published recommendations. Raises PublishError when nothing is published."""
    published = latest_published(existing(root))
    assert published is not None
    return published.table


def existing(root: str) -> Workspace:
    """A workspace that is there already: asking a question must not create folders."""
    if not Path(root).is_dir():
        raise StageError(f"--root {root}: no such folder.", "Name the folder that `kdspark run --root` wrote.")
    return Workspace(root)
