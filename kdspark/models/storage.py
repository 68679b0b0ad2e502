"""Models on disk: `model.json` (what it is) and `model.safetensors` (its weights), nothing that can run code.

The digest of the weights is checked before they are parsed. A *serving bundle* has the same two files, with the item
vectors already computed and the user side's weights only: it is all that a worker needs.

A folder whose model.json says `"storage": "int8"` holds its large matrices quantised (`models.quantise`); they are made
float32 again as the folder is read, so that whatever reads it computes with the values that were shipped.

Legend: N items, D dims.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from kdspark.config import Storage
from kdspark.errors import ModelError
from kdspark.models.batch import ItemTable
from kdspark.models.build import from_description
from kdspark.models.quantise import pack, unpack
from kdspark.models.recommender import Recommender
from kdspark.models.serving import Serving
from kdspark.workspace import read_json, write_bytes, write_json

FORMAT = 2
META_FILE, TENSORS_FILE = "model.json", "model.safetensors"
_USER_SIDE = "user_side."


def save_model(model: Recommender, folder: Path, extras: Mapping[str, Any] | None = None) -> str:
    """Write a model folder; returns the weights' sha256. `extras` (JSON-able) are kept under "extras"."""
    return _write(folder, _description(model, "model", extras), model.state_dict())


def store_as(folder: Path, storage: Storage) -> str:
    """Rewrite a model folder with its weights in another form; returns their new sha256.

    Raises:
        ModelError: as `load_model` does, or a weight is not finite.
    """
    description, tensors = _read(folder, "model")
    return _write(folder, description, tensors, storage)


def rewrite(folder: Path, change: Callable[[str, Tensor], Tensor]) -> str:
    """Change a model folder's weights, by name; returns their new sha256. Raises ModelError as `load_model` does."""
    description, tensors = _read(folder, "model")
    changed = {name: change(name, tensor) for name, tensor in tensors.items()}
    return _write(folder, description, changed, storage_of(folder))


def load_model(folder: Path, items: ItemTable) -> Recommender:
    """Read a model folder, in evaluation mode, on the CPU.

    Args:
        folder: what `save_model` wrote.
        items: tonight's catalogue; it may have grown since.

    Raises:
        ModelError: a file is missing or damaged, the weights are not the ones described, the kind is unknown, the
            folder is a serving bundle, or the catalogue is smaller than the model's.
    """
    description, tensors = _read(folder, "model")
    model = from_description(description["model"], items)
    _load_weights(model, tensors, folder)
    return model.eval()


def save_serving(
    model: Recommender, folder: Path, extras: Mapping[str, Any] | None = None, storage: Storage = "float32"
) -> str:
    """Write the serving bundle of a model with tonight's catalogue; returns the tensors' sha256.

    Args:
        storage: of the item vectors and the user side's large matrices.

    Raises:
        ModelError: an item vector is not finite.
    """
    with torch.inference_mode():
        items_ND = model.eval().encode_items().to(torch.float32)
    if not bool(torch.isfinite(items_ND).all()):
        raise ModelError("The model has item vectors that are not finite.", "Train it again with a lower rate.")
    description = _description(model, "serving", extras)
    popularity_N = model.get_buffer("n_events")
    allowed_N = model.allowed()
    user_side = _user_side(model)
    tensors = {_USER_SIDE + name: tensor for name, tensor in user_side.items()}
    tensors |= {"items_ND": items_ND, "allowed_N": allowed_N, "popularity_N": popularity_N}
    return _write(folder, description, tensors, storage)


def load_serving(folder: Path) -> Serving:
    """Read a serving bundle, on the CPU. Raises ModelError as `load_model` does."""
    description, tensors = _read(folder, "serving")
    try:
        items_ND, allowed_N, popularity_N = (tensors.pop(n) for n in ("items_ND", "allowed_N", "popularity_N"))
    except KeyError as error:
        raise ModelError(f"{folder / TENSORS_FILE} lacks {error}.", "Write the bundle again.") from error
    model = from_description(description["model"], _bare_items(popularity_N))
    model.drop_item_side()
    _load_weights(model, {name.removeprefix(_USER_SIDE): tensor for name, tensor in tensors.items()}, folder)
    return Serving(model.eval(), items_ND, allowed_N, popularity_N, description)


def load_item_vectors(folder: Path) -> Tensor:
    """Item vectors [N, D] of a serving bundle, zero for items that it does not recommend: it knows nothing of them.

    Raises:
        ModelError: as `load_model` does.
    """
    _, tensors = _read(folder, "serving")
    return tensors["items_ND"] * tensors["allowed_N"][:, None]


def storage_of(folder: Path) -> Storage:
    """How a model folder or serving bundle holds its large matrices. Raises ModelError as `describe_folder` does."""
    return "int8" if describe_folder(folder).get("storage") == "int8" else "float32"


def folder_bytes(folder: Path) -> int:
    """Bytes of a model's files on disk, its description included."""
    return sum((folder / name).stat().st_size for name in (META_FILE, TENSORS_FILE))


def describe_folder(folder: Path) -> dict[str, Any]:
    """The contents of model.json, the weights unread. Raises ModelError if it is missing or damaged."""
    path = folder / META_FILE
    try:
        description = read_json(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Name a folder that kdspark wrote.") from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}.", "Train the model again.") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ModelError(f"{path} is no model description of format {FORMAT}.", "Use the kdspark that wrote it.")
    return description


def _description(model: Recommender, role: str, extras: Mapping[str, Any] | None) -> dict[str, Any]:
    described = model.describe()
    return {
        "format": FORMAT,
        "role": role,
        "kind": described["kind"],
        "n_params": model.n_params,
        "model": described,
        "extras": dict(extras or {}),
    }


def _user_side(model: Recommender) -> dict[str, Tensor]:
    """Weights that remain once the item side is dropped, found on an empty twin so that `model` stays whole."""
    twin = from_description(model.describe(), _bare_items(model.get_buffer("n_events")))
    twin.drop_item_side()
    weights = model.state_dict()
    return {name: weights[name] for name in twin.state_dict()}


def _bare_items(n_events_N: Tensor) -> ItemTable:
    return ItemTable.without_features(n_events_N.cpu().numpy())


def _write(
    folder: Path, description: dict[str, Any], tensors: Mapping[str, Tensor], storage: Storage = "float32"
) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    described = {key: value for key, value in description.items() if key != "storage"}
    if storage == "int8":
        tensors, described = pack(tensors), described | {"storage": storage}
    data = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    write_bytes(folder / TENSORS_FILE, data)
    write_json(folder / META_FILE, described | {"sha256": digest})
    return digest


def _read(folder: Path, role: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    description = describe_folder(folder)
    if description.get("role") != role:
        raise ModelError(f"{folder} holds a {description.get('role')!r}, not a {role!r}.", "Name the right folder.")
    return description, unpack(read_tensors(folder / TENSORS_FILE, str(description.get("sha256"))))


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, its digest checked first.

    Raises:
        ModelError: the file is missing, its digest is another one, or it cannot be parsed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Name a folder that kdspark wrote.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(
            f"{path} is damaged: sha256 {found[:12]}..., {sha256[:12]}... expected.", "Copy or train the model again."
        )
    try:
        return load(data)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path} cannot be parsed: {error}.", "Train the model again.") from error


def _load_weights(model: Recommender, tensors: dict[str, Tensor], folder: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise ModelError(f"{folder}: the weights do not fit the description: {problem}", "Train again.") from error
