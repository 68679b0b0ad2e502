"""Paths as the caller of a script meant them: the script has moved to the checkout since."""

import os
from pathlib import Path


def called_from(path: str) -> Path:
    """Relative to where the script was called."""
    return Path(os.environ.get("KDSPARK_CALLED_FROM", ".")) / path
