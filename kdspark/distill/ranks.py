"""The process group of a training on several processes; without one, this process is rank 0 of 1."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def rank() -> int:
    """This process's number."""
    return dist.get_rank() if _grouped() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _grouped() else 1


def averaged(objective: nn.Module, device: str) -> nn.Module:
    """The objective itself, or, within a process group, with gradients averaged over its processes."""
    if world() == 1:
        return objective
    ids = [torch.device(device)] if device.startswith("cuda") else None
    # buffers are constants (features, the teacher's vectors): nothing to send round in every step
    return DistributedDataParallel(objective, device_ids=ids, broadcast_buffers=False)


def first_ranks(value: float, device: str) -> float:
    """Rank 0's value on all ranks, so that they stop at the same epoch, for example."""
    if not _grouped():
        return value
    sent = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(sent, 0)
    return float(sent)


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
