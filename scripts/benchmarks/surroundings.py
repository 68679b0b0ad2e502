"""Where a script was called, and what it runs on."""

import os
import platform
from pathlib import Path

import torch


def called_from(path: str) -> Path:
    """A path as the caller meant it: the script has moved to the checkout since."""
    return Path(os.environ.get("KDSPARK_CALLED_FROM", ".")) / path


def machine() -> str:
    """What figures were measured on."""
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
