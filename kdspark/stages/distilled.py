"""What every stage that trains on soft labels asks for: whose labels, whose vectors, and the epochs of a refit."""

from dataclasses import dataclass

from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import TRAINING_FILE, Request
from kdspark.config import DistillConfig
from kdspark.stages import labels, prepare, teacher, warm
from kdspark.stages.stage import Scope, Task
from kdspark.workspace import read_json

MODEL, SERVING = warm.MODEL, teacher.SERVING


@dataclass(frozen=True)
class Source:
    """A model that teaches.

    Attributes:
        model: the stage that trained it.
        labels: the stage of its answers.
    """

    model: str
    labels: str

    def needs(self, distill: DistillConfig) -> tuple[str, ...]:
        """The stages that learning from it reads."""
        needs = (prepare.NAME, self.labels)
        return (*needs, self.model) if distill.reads_vectors else needs


def request(task: Task, scope: Scope, distill: DistillConfig, source: Source, trained: str) -> Request:
    """The training of a build.

    Args:
        trained: the stage that trained the same model on the train events, for a refit to repeat.
    """
    wanted = Request(
        Prepared(task.inputs[prepare.NAME]),
        scope,
        task.checkpoints,
        task.night.config.seed,
        rows=task.inputs[source.labels] / labels.TABLE,
        easier=tuple(task.inputs[source.labels] / table for table in labels.tables_of(distill)[:-1]),
        distill=distill,
        top_k=task.night.config.soft_labels.top_k,
        teacher=task.inputs[source.model] / SERVING if distill.reads_vectors else None,
        stall_s=task.night.config.loader.stall_seconds,
    )
    if scope == "full":
        return wanted.refit(read_json(task.inputs[trained] / MODEL / TRAINING_FILE))
    return wanted
