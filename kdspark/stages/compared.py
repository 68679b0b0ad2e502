"""The models that a night compares: baselines, the teacher, its assistant if there is one, the students."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdspark.config import Config
from kdspark.report.comparison import ASSISTANT, POPULARITY, STUDENT, STUDENT_PLAIN, TEACHER
from kdspark.stages import assistant, baselines, student, teacher
from kdspark.stages.stage import Task
from kdspark.workspace import read_json

_TITLES = {
    "popularity": "Popularity",
    "als": "Spark MLlib ALS",
    "ease": "EASE",
    "gfcf": "GF-CF",
    "teacher": "Teacher",
    "assistant": "Assistant",
    "student_plain": "Student without distillation",
    "student": "Student, distilled",
}


@dataclass(frozen=True)
class Compared:
    """One model to evaluate: its name, serving bundle, and what its training found out."""

    name: str
    bundle: Path
    facts: dict[str, Any]

    @property
    def title(self) -> str:
        return _TITLES.get(self.name, self.name)

    @property
    def curves(self) -> Iterable[tuple[str, list[dict[str, float]]]]:
        """Its training curves, or those of its members, by name."""
        return _curves(self.name, self.facts)


def compared_models(task: Task, config: Config) -> Iterable[Compared]:
    """All of them, in the order of the comparison's table."""
    folder = task.inputs[baselines.NAME]
    for kind in (POPULARITY, *(baseline.kind for baseline in config.baselines)):
        yield Compared(kind, folder / kind / "serving", _facts(folder / kind / "model"))
    for name, stage in stages_compared(config).items():
        yield Compared(name, task.inputs[stage] / student.SERVING, _facts(task.inputs[stage] / student.MODEL))


def stages_compared(config: Config) -> dict[str, str]:
    """Name -> stage of the night's own models."""
    between = {} if config.assistant is None else {ASSISTANT: assistant.name("train")}
    students = {STUDENT_PLAIN: student.PLAIN, STUDENT: student.name("train")}
    return {TEACHER: teacher.name("train"), **between, **students}


def _facts(model: Path) -> dict[str, Any]:
    facts: dict[str, Any] = read_json(model / "training.json")
    return facts


def _curves(name: str, facts: dict[str, Any]) -> Iterable[tuple[str, list[dict[str, float]]]]:
    """Training curves of a model, or of its members."""
    if facts["curve"]:
        yield name, facts["curve"]
    for index, member in enumerate(facts["members"]):
        yield from _curves(f"{name}: {member['kind']} {index + 1}", member)
