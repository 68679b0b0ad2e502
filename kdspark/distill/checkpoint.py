"""Training checkpoints: safetensors and JSON only, written so that the last good one survives any crash.

A checkpoint is `step-N.safetensors` and `step-N.json`; the JSON, written last, carries the tensors' digest and makes
the checkpoint count; it has a digest of its own, too. Two are kept, so that a damaged newest one costs a few epochs,
not the night.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from kdspark.errors import ModelError
from kdspark.failpoints import reached
from kdspark.models.storage import read_tensors
from kdspark.workspace import read_json, sealed, unsealed, write_bytes, write_json

_KEPT = 2
_log = logging.getLogger(__name__)


def save_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint and delete all but the latest two.

    Args:
        step: its number; later checkpoints have larger ones.
        tensors: weights and optimiser state.
        state: everything else, JSON-able.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    path = folder / f"step-{step:09d}.safetensors"
    write_bytes(path, data)
    reached("checkpoint.tensors")
    described = {"sha256": hashlib.sha256(data).hexdigest(), "state": dict(state)}
    write_json(path.with_suffix(".json"), sealed(described))
    reached("checkpoint.saved")
    for old in sorted(folder.glob("step-*.json"))[:-_KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The latest checkpoint that is whole (tensors, state); None if there is none. Damaged ones are skipped, loudly."""
    for path in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            described = unsealed(read_json(path))
            tensors = read_tensors(path.with_suffix(".safetensors"), described["sha256"])
            return tensors, described["state"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ModelError) as error:
            _log.warning("checkpoint %s is skipped: %s", path, error)
    return None
