"""Every error a user can cause. Each message says what happened, where, and what to do about it.

A `KdsparkError` is printed as one line, without a stack trace, and sets the exit code of the job;
any other exception is a bug in kdspark and keeps its trace. No message holds a secret (`kdspark.redaction`).
"""

from collections.abc import Mapping
from typing import Any

from kdspark.redaction import redacted


class KdsparkError(Exception):
    """Base of all errors with a known remedy.

    Args:
        problem: what happened, and where (file, column, key, stage).
        remedy: what the user can do about it, as an instruction.
    """

    exit_code = 1

    def __init__(self, problem: str, remedy: str) -> None:
        problem, remedy = redacted(problem), redacted(remedy)
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["KdsparkError"], tuple[str, str]]:
        """An error of another process arrives as what it was."""
        return type(self), (self.problem, self.remedy)


class ConfigError(KdsparkError):
    """The configuration is not valid: unknown key, wrong type, impossible combination."""

    exit_code = 2


class InputError(KdsparkError):
    """The input data cannot be used: missing file or column, wrong type, nothing left after cleaning."""

    exit_code = 3


class NoRowsError(InputError):
    """An input has nothing to read: no file, or no row."""


class EmptyDayError(InputError):
    """The log has nothing of the night's own day; what was published may stay (`gate.on_empty_day`)."""


class StageError(KdsparkError):
    """A stage cannot run: an earlier one is missing or its output damaged, or Spark's workers died."""

    exit_code = 4


class TrainingError(KdsparkError):
    """Training had to stop: non-finite loss, rows lost by the feed, no usable checkpoint."""

    exit_code = 5


class StalledError(KdsparkError):
    """Storage does not answer, and a thread that reads from it is blocked for good (see `kdspark.watchdog`).

    No TrainingError: what else is tried in this process, such as a search's next trial, would read the same storage.
    """

    exit_code = 5


class PublishError(KdsparkError):
    """The staged recommendations may not be published, or the published ones cannot be read."""

    exit_code = 6


class BlockedError(PublishError):
    """The gate blocks the night.

    Args:
        health: the night's figures.
    """

    def __init__(self, problem: str, remedy: str, health: Mapping[str, Any] | None = None) -> None:
        super().__init__(problem, remedy)
        self.health = dict(health or {})


class ModelError(KdsparkError):
    """A model folder is missing, damaged, or does not fit the tables it is used with."""

    exit_code = 7


class LeaseError(KdsparkError):
    """Another run works on this date."""

    exit_code = 8
