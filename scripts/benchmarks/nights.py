"""What benchmarks of whole nights share: the logs' configurations and files, and a night that publishes nothing."""

from dataclasses import dataclass
from pathlib import Path

from kdspark.config import load_config
from kdspark.spark.session import build_session
from kdspark.stages.pipeline import run_night
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace, parse_date


@dataclass(frozen=True)
class Log:
    """A public log: its configuration, and configuration keys of input paths -> file below the data folder."""

    config: str
    inputs: dict[str, str]

    def overrides(self, data: Path | None) -> list[str]:
        """Overrides that read the inputs from a data folder; none where the configuration's own paths will do."""
        return [f"{key}={data / file}" for key, file in self.inputs.items()] if data else []


ML100K = Log(
    "conf/ml100k.yaml",
    {
        "data.interactions.paths": "ml-100k.inter",
        "data.users.paths": "ml-100k.user",
        "data.items.paths": "ml-100k.item",
    },
)
GROCERIES = Log("conf/groceries.yaml", {"data.interactions.paths": "transactions.parquet"})
_COMPARED = ("prepare", "train-teacher", "soft-labels", "train-student", "evaluate")  # a night without publishing


def night_of(name: str, log: Log, date: str, overrides: list[str], out: Path) -> Night:
    """A night of a benchmark, in a workspace of its own."""
    config = load_config(log.config, overrides)
    return Night(config, parse_date(date), Workspace(out), lambda: build_session(config.spark, name))


def run_compared(night: Night) -> Runner:
    """A night up to its comparison; nothing is published."""
    for verb in _COMPARED:
        runner = run_night(night, verb)
    return runner


def ratio_lines(ratios: dict[str, float]) -> list[str]:
    """The ratios for a terminal, below a table."""
    return ["", *(f"{name}: {value:.4f}" for name, value in ratios.items())]
