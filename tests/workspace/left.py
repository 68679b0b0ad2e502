"""Names of what a dead process left, for tests that want to see it removed."""

import os

from kdspark.workspace.owners import owned

NOBODY = 999_999_999  # above any number that Linux gives to a process


def left_name(name: str) -> str:
    """As `owned` names it, but of a process that is gone."""
    return owned(name).replace(f"-{os.getpid()}-", f"-{NOBODY}-")
