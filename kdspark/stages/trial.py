"""One trial of a search: the night's stages up to a training, with the trial's values, and what validation says."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import OutOfMemoryError

from kdspark.bridge.prepared import Prepared
from kdspark.bridge.request import TRAINING_FILE
from kdspark.bridge.validation import validate_folder
from kdspark.config import Config, NeuralConfig, parse_config
from kdspark.config.load import set_key
from kdspark.config.search import SearchConfig, Target
from kdspark.errors import TrainingError
from kdspark.models.storage import describe_folder
from kdspark.search.loop import Measured
from kdspark.stages import prepare, student, teacher
from kdspark.stages.pipeline import stages_of
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night, Stage, Task
from kdspark.workspace import read_json

TARGETS: dict[Target, str] = {
    "student": student.name("train"),
    "student_plain": student.PLAIN,
    "teacher": teacher.name("train"),
}
_REPEAT_SEED = 100_003  # apart from the seeds of an ensemble's members


def stages_up_to(name: str, stages: Mapping[str, Stage]) -> list[str]:
    """A stage and all that it needs, in the order of the night."""
    wanted = {name}
    for stage in reversed([*stages.values()]):
        if stage.name in wanted:
            wanted |= {*stage.needs}
    return [stage for stage in stages if stage in wanted]


def metric_name(config: Config) -> str:
    """What trials are compared by, whatever they train with: the metric that the student's training validates by."""
    return f"ndcg@{config.student.training.valid_k}"


class Trials:
    """Measures values in the place of a configuration's own.

    The yardstick is the configuration's: `valid_k` and `valid_users` of its student's training. A trial that trains
    with others, a model that trains without validation (item-item models, ALS, ensembles), or one stored otherwise
    than it was trained, is measured when it is trained.

    Args:
        night: of the configuration as it is.
        raw: what it was parsed from.
        search: what is trained, and how often.
    """

    def __init__(self, night: Night, raw: Mapping[str, Any], search: SearchConfig) -> None:
        self._night, self._raw, self._search = night, raw, search
        self._target = TARGETS[search.target]

    def measure(self, values: Mapping[str, Any]) -> Measured:
        """Train with these values, once per repeat.

        Raises:
            KdsparkError: ConfigError, the values do not fit; TrainingError, they need more memory than there is; or
                whatever a stage raises.
        """
        raw = copy.deepcopy(dict(self._raw))
        for key, value in values.items():
            set_key(raw, key, value)
        config = parse_config(raw, source="these values")
        try:
            repeats = [self._train(config, repeat) for repeat in range(self._search.repeats)]
        except (MemoryError, OutOfMemoryError) as error:
            reason = str(error).partition("\n")[0] or "out of memory"
            raise TrainingError(f"These values need more memory: {reason}", "Leave them out of the search.") from None
        found = [value for value, _, _ in repeats]
        return Measured(found, [epoch for _, epoch, _ in repeats], repeats[0][2])

    def _train(self, config: Config, repeat: int) -> tuple[float, int, int]:
        """Metric, epoch kept and number of weights of one training."""
        night = replace(self._night, config=config)
        seed = (config.seed + _REPEAT_SEED * repeat) % 2**31
        stages = stages_of(config)
        if repeat:
            stages[self._target] = _with_seed(stages[self._target], seed)
        runner = Runner(night, stages)
        runner.run(stages_up_to(self._target, stages))
        folder = runner.output(self._target) / student.MODEL
        record = read_json(folder / TRAINING_FILE)
        value = record["best_metric"] if self._validates_alike(config) else None
        if value is None:
            prepared = Prepared(runner.output(prepare.NAME))
            value = validate_folder(prepared, folder, self._night.config.student.training, seed)
        return float(value), int(record["best_epoch"]), int(describe_folder(folder)["n_params"])

    def _validates_alike(self, config: Config) -> bool:
        """Whether the target's own validation is the yardstick: of the same users, and of the weights as stored."""
        model, yardstick = self._model(config), self._night.config.student.training
        if self._search.target != "teacher" and config.student_storage != "float32":
            return False
        return isinstance(model, NeuralConfig) and (model.training.valid_k, model.training.valid_users) == (
            yardstick.valid_k,
            yardstick.valid_users,
        )

    def _model(self, config: Config) -> object:
        if self._search.target == "student_plain":
            return config.twin
        return config.teacher if self._search.target == "teacher" else config.student


def _with_seed(stage: Stage, seed: int) -> Stage:
    """The same stage with a seed of its own; what it needs keeps the night's."""

    def build(task: Task) -> Any:
        night = task.night
        config = night.config.model_copy(update={"seed": seed})
        return stage.build(replace(task, night=replace(night, config=config, start_session=lambda: night.spark)))

    return replace(stage, settings=lambda night: {"settings": stage.settings(night), "repeat_seed": seed}, build=build)
