"""Which earlier students tonight's start from: those of the published night whose vocabulary tonight's goes on from.

What is found becomes part of a stage's settings, and so of its key and manifest: equal keys, equal students.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kdspark.bridge.request import Request
from kdspark.bridge.warm import misfit, write_members
from kdspark.config import StudentConfig, TrainableConfig, apart
from kdspark.errors import KdsparkError, StageError
from kdspark.models.build import members_of
from kdspark.models.storage import describe_folder
from kdspark.stages import prepare
from kdspark.stages.inputs import listed_files
from kdspark.stages.stage import Night, Task
from kdspark.workspace import Manifest

log = logging.getLogger("kdspark")

_CONFIG: TypeAdapter[TrainableConfig] = TypeAdapter(StudentConfig)
MODEL = "model"


def settings(night: Night, students: tuple[str, ...], stage: str) -> dict[str, Any]:
    """What a student's stage adds to its settings; nothing without `warm_start`.

    Args:
        students: stages whose models are compared: all of them start warm, or none.
        stage: whose model this one starts from, if there is one of that name, else from the first of `students`.

    Returns:
        {"warm_start": {"share", "rate", "origin", "reason"}}; origin says which model (run, stage, key, sha256), and is
        None for a cold start, of which the reason tells why.
    """
    config = night.config.warm_start
    if config is None:
        return {}
    found, reason = _origin(night, students, stage)
    return {"warm_start": {**config.model_dump(mode="json"), "origin": found, "reason": reason}}


def started(task: Task, request: Request) -> tuple[TrainableConfig, Request, dict[str, Any]]:
    """The student's configuration and the request of a build, changed for a warm start where there is one.

    Returns:
        With them, facts for the manifest; none without `warm_start`.
    """
    night = task.night
    student = night.config.student
    if night.config.warm_start is None:
        return student, request, {}
    origin, reason = (task.settings["warm_start"][name] for name in ("origin", "reason"))
    folder = None
    if origin is not None:
        folder = night.workspace.stage_folder(origin["stage"], origin["key"]) / MODEL
        reason = misfit(night.spark, request.prepared, request.scope, folder)
    if folder is None or reason is not None:
        log.info("%-14s cold start: %s", task.stage, reason)
        return student, request, {"warm_start": None, "cold_start": reason}
    log.info("%-14s warm start from %s of %s", task.stage, origin["stage"], origin["run"])
    if night.config.student_copies > 1:
        folder = write_members(folder, request.prepared, request.scope, request.checkpoints / "starts")
    training = night.config.warm_start.shortened(student.training)
    warm = student.model_copy(update={"training": training})
    return warm, replace(request, start=folder), {"warm_start": origin["run"], "cold_start": None}


def _origin(night: Night, students: tuple[str, ...], stage: str) -> tuple[dict[str, Any] | None, str | None]:
    published = night.publication.before(night.date)
    if published is None:
        return None, "no earlier night is published here"
    try:
        made = _made(night, published.manifest.get("stages", {}))
    except StageError as error:
        log.warning("ignored: %s", error.problem)
        made = {}
    if prepare.NAME not in made or any(name not in made for name in students):
        return None, f"the students of the night of {published.date} are gone or damaged"
    chosen = stage if stage in made else students[0]
    for name in {*students, chosen}:
        if damage := night.workspace.damage(made[name]):
            log.warning("ignored: %s: %s", _model(night, made[name]).parent, damage[0])
            return None, f"the students of the night of {published.date} are gone or damaged"
    reason = _other_data(night, made[prepare.NAME])
    for name in (*students, chosen):
        reason = reason or _other_model(night, made[name])
    if reason is not None:
        return None, f"the student of the night of {published.date} does not fit: {reason}"
    manifest = made[chosen]
    sha256 = str(describe_folder(_model(night, manifest))["sha256"])
    run = f"{published.date}/{published.run_id}"
    return {"run": run, "stage": chosen, "key": manifest.key, "sha256": sha256}, None


def _made(night: Night, named: dict[str, str]) -> dict[str, Manifest]:
    """Manifests, by stage, of what a published run names and of what that was made from."""
    workspace = night.workspace
    found = {name: workspace.manifest_in(name, folder) for name, folder in named.items()}
    for manifest in [manifest for manifest in found.values() if manifest is not None]:
        # those that users were erased from no longer count as finished
        found |= {need: workspace.manifest_in(need, key[:20]) for need, key in manifest.inputs.items()}
    return {name: manifest for name, manifest in found.items() if manifest is not None}


def _model(night: Night, manifest: Manifest) -> Path:
    return night.workspace.stage_folder(manifest.stage, manifest.key) / MODEL


def _other_data(night: Night, manifest: Manifest) -> str | None:
    """What of the night's data was otherwise: what was for training then must not be for testing tonight."""
    then, now = manifest.config["settings"]["data"], night.config.data.model_dump(mode="json")
    if manifest.config["seed"] != night.config.seed:
        return "it has another `seed`, which splits events too"
    if then["split"] != now["split"]:
        return "it has another `data.split`, so that it may have learned tonight's test events"
    if night.config.data.split.kind == "provided":
        files, tonight = manifest.config["settings"]["files"], listed_files(night, ("valid", "test"))
        if {name: files.get(name) for name in tonight} != tonight:
            return "it has other files of validation and test events, and may have learned tonight's"
    student = night.config.student
    sides = {"users": student.user_features, "items": student.item_features}
    for side in (side for side, used in sides.items() if used):
        if _columns(then[side]) != _columns(now[side]):
            return f"it has other feature columns in `data.{side}`"
    return None


def _columns(table: dict[str, Any] | None) -> list[Any]:
    """The features of a side's table, whatever files they are in."""
    return [(table or {}).get(name) or None for name in ("categorical", "multi_valued", "numeric", "dense")]


def _other_model(night: Night, manifest: Manifest) -> str | None:
    """What of the model's configuration was otherwise; how it learned or is stored does not matter.

    One of the two compared students is not tonight's own: its twin may learn otherwise, and only so.

    Members of an ensemble are copies: only students are asked for.
    """
    try:
        members = members_of(describe_folder(_model(night, manifest))["model"])
        configs = [_CONFIG.validate_python(member["config"]) for member in members]
    except (KdsparkError, KeyError, TypeError, ValidationError) as error:
        log.warning("ignored: %s: %s", _model(night, manifest), error)
        return "its folder is damaged"  # without the path: the key must not depend on where the workspace lies
    if len(configs) != night.config.student_copies:
        return f"its `student_copies` is {len(configs)}"
    keys = apart(configs[0], night.config.student)
    return f"its `{keys[0]}` is {getattr(configs[0], keys[0], None)}" if keys else None
