"""Which nights are kept: the published ones that were published last, and what they were made from."""

import logging
import shutil
from pathlib import Path

from kdspark.workspace import Manifest, Publication, Published, Workspace

log = logging.getLogger("kdspark")


def remove_old(workspace: Workspace, publication: Publication, keep: int) -> None:
    """Remove all published runs but the last `keep`, and the stages that only they were made from.

    What a pointer names is kept, too: the latest run, and of each date that has a run among the last ones, the one that
    counts. Stages of which nothing was ever published are left alone.

    Args:
        keep: at least 1.
    """
    runs = publication.runs()
    kept = runs[-keep:]
    pointed = [publication.latest(), *(publication.of(date) for date in {run.date for run in kept})]
    names = {run.name for run in [*kept, *(run for run in pointed if run is not None)]}
    old = [run for run in runs if run.name not in names]
    if not old:
        return
    needed = _folders(workspace, [run for run in runs if run.name in names])
    for run in old:
        stages = _folders(workspace, [run])
        log.info("%-14s %s, run %s: more than %d are published", "removed", run.date, run.run_id, keep)
        try:
            publication.delete(run)
        except OSError as error:  # tonight is published all the same
            log.warning("%-14s %s cannot be removed: %s", "kept", run.name, error)
            continue
        for folder in stages - needed:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(workspace: Workspace, runs: list[Published]) -> set[Path]:
    """Of the stages that runs were made from, directly or not."""
    found: dict[Path, Manifest] = {}
    waiting = [(name, folder) for run in runs for name, folder in run.manifest.get("stages", {}).items()]
    while waiting:
        name, folder = waiting.pop()
        path = workspace.root / "stages" / name / folder
        manifest = workspace.manifest_in(name, folder) if path not in found else None
        if manifest is not None:
            found[path] = manifest
            waiting += [(need, workspace.stage_folder(need, key).name) for need, key in manifest.inputs.items()]
    return set(found)
