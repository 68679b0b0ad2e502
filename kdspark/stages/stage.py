"""What a stage is: a name, the stages it needs, the settings it depends on, and a function that builds its output."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdspark.config import Config
from kdspark.spark.full_disk import places
from kdspark.stages.published import published_in
from kdspark.workspace import Lease, Publication, Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Scope = Literal["train", "full"]
"""`train`: built from train events alone, for training and evaluation. `full`: from every event of the night."""


@dataclass(frozen=True)
class Night:
    """One night's work: configuration, date, disk, and the Spark session (started when first asked for).

    Attributes:
        force: publish once more what is published already, and what the gate blocks; both are recorded.
        accept_schema: let columns of the inputs have other types than last night; recorded.
        lease: by which this run alone works on the date; None where nobody else can.
    """

    config: Config
    date: dt.date
    workspace: Workspace
    start_session: Callable[[], "SparkSession"]
    force: bool = False
    accept_schema: bool = False
    lease: Lease | None = None

    @cached_property
    def spark(self) -> "SparkSession":
        return self.start_session()

    @cached_property
    def publication(self) -> Publication:
        """Where nights are published."""
        return published_in(self.workspace, self.config.publish.to, lambda: self.spark)

    def places(self) -> dict[str, list[Path]]:
        """Where the night writes, as `full_disk.places`."""
        return places(self.workspace.root, self.config.spark.settings)

    @property
    def end_us(self) -> int:
        """End of the date, exclusive, in microseconds since 1970-01-01 UTC."""
        midnight = dt.datetime.combine(self.date + dt.timedelta(days=1), dt.time(), dt.timezone.utc)
        return int((midnight - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) / dt.timedelta(microseconds=1))


@dataclass(frozen=True)
class Outcome:
    """What a build reports: rows per table that it wrote or, in training, learned from; and facts for the manifest."""

    rows: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One build: its stage, key, and the settings the key is made of; where to write, where the inputs lie, where
    checkpoints survive a crash."""

    night: Night
    stage: str
    key: str
    settings: Any
    out: Path
    inputs: Mapping[str, Path]
    checkpoints: Path


@dataclass(frozen=True)
class Stage:
    """A step of the night.

    Attributes:
        name: also the name of its folder below ROOT/stages.
        verb: the CLI verb (and job) that runs it.
        needs: stages whose output it reads.
        settings: JSON-able value that, with the inputs' keys, determines the output.
        build: writes the output into `Task.out`; everything must be on disk when it returns.
        reusable: whether a finished output stands for another run.
    """

    name: str
    verb: str
    needs: tuple[str, ...]
    settings: Callable[[Night], Any]
    build: Callable[[Task], Outcome]
    reusable: bool = True
