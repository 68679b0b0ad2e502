"""Whether dense work fits into memory, asked before it starts: a killed process cannot say what to change.

The estimates are lower bounds (what the largest tensors alone take), so that nothing that would fit is refused.
"""

import os
from pathlib import Path

import torch

from kdspark.errors import TrainingError

_GIB = 2**30
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes(device: torch.device | str = "cpu") -> int:
    """Memory of the device: a GPU's own; else the machine's, or the container's limit where that is lower."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUP_LIMITS:
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return total


def require_memory(needed: int, what: str, remedy: str, device: torch.device | str = "cpu") -> None:
    """Raise TrainingError if `needed` bytes are more than the device has.

    Args:
        what: the work, for the message.
        remedy: what to change, as an instruction.
    """
    there = memory_bytes(device)
    if needed > there:
        raise TrainingError(
            f"{what} needs at least {needed / _GIB:,.1f} GiB, this machine's {torch.device(device).type} has "
            f"{there / _GIB:,.1f} GiB.",
            remedy,
        )
