"""What a check is: a small function that looks at one thing, and says what it found and what to do about it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from kdspark.config import Config, SparkConfig
from kdspark.errors import KdsparkError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Status = Literal["ok", "warning", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """A line of the table.

    Attributes:
        check: what was looked at.
        status: `warning` can be lived with, `FAIL` cannot.
        found: what it is like.
        remedy: what to do about it; empty if nothing.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""


@dataclass
class Patient:
    """What is looked at.

    Attributes:
        config: of the nights to come; None: a machine by itself.
        root: where they are to write; None: nothing is written.
        start_session: of the cluster.
    """

    config: Config | None
    root: Path | None
    start_session: Callable[[SparkConfig], "SparkSession"]
    _session: "SparkSession | None" = field(default=None, repr=False)

    @property
    def spark(self) -> SparkConfig:
        return self.config.spark if self.config is not None else SparkConfig()

    @property
    def session(self) -> "SparkSession":
        """Started when first asked for."""
        if self._session is None:
            self._session = self.start_session(self.spark)
        return self._session


Check = Callable[[Patient], Iterator[Finding]]
CHECKS: dict[str, Check] = {}
"""All checks by name."""


def check(name: str) -> Callable[[Check], Check]:
    """Register a check."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


def examine(patient: Patient, modules: Sequence[ModuleType]) -> list[Finding]:
    """What the checks of some modules find, in this order; one that breaks off has failed, and the others go on."""
    found: list[Finding] = []
    order = [module.__name__ for module in modules]
    of_modules = {name: function for name, function in CHECKS.items() if function.__module__ in order}
    for name, function in sorted(of_modules.items(), key=lambda one: order.index(one[1].__module__)):
        try:
            found += function(patient)
        except KdsparkError as error:
            found.append(Finding(name, "FAIL", error.problem, error.remedy))
        except Exception as error:  # of a machine that is not as it should be anything is to be expected
            said = str(error).strip().partition("\n")[0] or "no reason is given"
            found.append(Finding(name, "FAIL", f"{type(error).__name__}: {said}", "See the log above."))
    return found
