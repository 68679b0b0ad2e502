"""What nights left behind: comparisons, and published runs, to list, to verify and to go back to.

Spark is started only where nights are published elsewhere than below ROOT.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdspark.errors import PublishError, StageError
from kdspark.report.comparison import COMPARISON, REPORT, Comparison, as_json, table
from kdspark.stages.published import noted_place, published_in
from kdspark.workspace import Publication, Published, Workspace, parse_date, read_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LINE = "{:2} {:10}  {:16}  {:19}  {:>12}  {:>14}  {}"


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


def latest_table(root: str) -> str:
    """Where the newest published recommendations lie. Raises PublishError when nothing is published."""
    publication = _published(existing(root))
    return publication.url(publication.latest())


def list_runs(root: str, json_output: bool) -> str:
    """The published runs in the order in which they were published, as a text table or as JSON."""
    publication = _published(existing(root))
    found, latest = publication.runs(), publication.latest().name
    counting = {run.name for date in {run.date for run in found} if (run := publication.of(date)) is not None}
    withdrawn = {date for date in {run.date for run in found} if publication.withdrawn(date)}
    rows = [
        {
            **_row(run, publication.url(run)),
            "latest": run.name == latest,
            "counts": run.name in counting,
            "withdrawn": run.name in counting and run.date in withdrawn,
        }
        for run in found
    ]
    if json_output:
        return json.dumps(rows, indent=2, allow_nan=False)
    lines = [_LINE.format("", "date", "run", "published (UTC)", "users", "rows", "")]
    for row in rows:
        mark = "*" if row["latest"] else "+" if row["counts"] else ""
        note = ", ".join(word for word in ("forced", "withdrawn") if row[word])
        published = row["published"][:19].replace("T", " ")
        lines.append(_LINE.format(mark, row["date"], row["run"], published, row["users"], row["rows"], note).rstrip())
    return "\n".join([*lines, "* latest   + of its date"])


def roll_back(root: str, date: str | None, run_id: str | None) -> str:
    """Point to an earlier run: the one published before the latest, or the one that is named.

    Args:
        date: of the run; None: any.
        run_id: None: the one that counts for the date.

    Returns:
        What was done.

    Raises:
        PublishError: there is no such run, or its files are damaged.
    """
    workspace = existing(root)
    publication = _published(workspace)
    with workspace.pointing():
        target = _target(publication, date, run_id)
        if damage := publication.damage(target):
            raise PublishError(
                f"{target.name}: damaged: {damage[0]}. The pointers are where they were.",
                "Choose another: `kdspark runs`.",
            )
        publication.roll_back(target)
    return f"latest is {target.date}, run {target.run_id}: {publication.url(target)}"


def verify(root: str, every: bool) -> str:
    """Compare the files of the latest run, or of all, with the hashes of their manifests.

    Raises:
        PublishError: a file is not what was published, or a pointer names no whole run.
    """
    publication = _published(existing(root))
    latest = publication.latest()
    runs = publication.runs() if every else [latest]
    damage = [f"{run.name}: {one}" for run in runs for one in publication.damage(run)]
    if damage:
        more = f" ({len(damage) - 1} more)" if len(damage) > 1 else ""
        raise PublishError(
            f"Damaged: {damage[0]}{more}.", "Roll back to a whole run (`kdspark rollback`), or publish with `--force`."
        )
    files = sum(len(run.manifest["files"]) for run in runs)
    return f"Published runs: {len(runs)}, files: {files}: every size and hash is as it was published."


def _published(workspace: Workspace) -> Publication:
    return published_in(workspace, noted_place(workspace), session)


def session() -> "SparkSession":
    """For those who know nothing but ROOT, and whose runs are published elsewhere."""
    from kdspark.config import SparkConfig
    from kdspark.spark.session import build_session

    return build_session(SparkConfig(), "kdspark")


def _target(publication: Publication, date: str | None, run_id: str | None) -> Published:
    if date is not None:
        day = parse_date(date)
        found = publication.run(day, run_id) if run_id else publication.of(day)
        if found is None:
            raise PublishError(f"Nothing is published for {date}.", "`kdspark runs` lists what is.")
        return found
    if run_id is not None:
        raise PublishError(f"--run {run_id} is without its --date.", "Give both, as `kdspark runs` lists them.")
    runs, latest = publication.runs(), publication.latest()
    earlier = [run for run in runs if (run.at, run.name) < (latest.at, latest.name)]
    if not earlier:
        raise PublishError(
            f"Nothing was published before {latest.date}, run {latest.run_id}.", "Keep it, or publish anew."
        )
    return earlier[-1]


def _row(run: Published, path: str) -> dict[str, Any]:
    return {
        "date": run.date.isoformat(),
        "run": run.run_id,
        "published": run.at,
        "users": run.manifest.get("users"),
        "rows": run.manifest.get("rows"),
        "forced": run.manifest.get("forced", []),
        "path": path,
    }


def existing(root: str) -> Workspace:
    """A workspace that is there already: asking a question must not create folders."""
    if not Path(root).is_dir():
        raise StageError(f"--root {root}: no such folder.", "Name the folder that `kdspark run --root` wrote.")
    return Workspace(root)
