"""Which ids a model's numbers stand for: stamped into its folder, checked when the folder is used elsewhere.

Models know users and items by index. A folder from another workspace would load without a complaint, and recommend
other items than it learned.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.prepared import Prepared
from kdspark.errors import ModelError
from kdspark.models.storage import describe_folder
from kdspark.spark.ids import vocabulary_digest
from kdspark.spark.io import read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_STAMP = "vocabulary"
_ITEMS, _USERS = "items", "users"
_SIDES = {_ITEMS: ("item_ids", tables.ITEM_IDX, tables.ITEM_ID), _USERS: ("user_ids", tables.USER_IDX, tables.USER_ID)}
_WITH_USER_TABLE = ("mf", "als", "lightgcn")


def vocabulary_stamp(spark: "SparkSession", prepared: Prepared) -> dict[str, Any]:
    """Extras for `save_model`: sizes and digests of tonight's vocabularies."""
    sizes = {_ITEMS: prepared.n_items, _USERS: prepared.n_users}
    return {_STAMP: {side: [size, _digest(spark, prepared, side, size)] for side, size in sizes.items()}}


def check_vocabulary(spark: "SparkSession", prepared: Prepared, folder: Path) -> None:
    """Check that a model folder numbers items (and users, if it has a table of them) as tonight's tables do.

    A vocabulary that has grown since fits. A folder without a stamp is believed, and so is one whose users have lost
    ids since, as erased users do: what these were cannot be compared, and who the items are says where it comes from.

    Raises:
        ModelError: it comes from a workspace with other ids.
    """
    description = describe_folder(folder)
    stamp = description["extras"].get(_STAMP, {})
    sides = [_ITEMS, _USERS] if _has_user_table(description["model"]) else [_ITEMS]
    for side in sides:
        size, digest = stamp.get(side, (0, None))
        if digest is None or (side == _USERS and _has_lost(spark, prepared, side, int(size))):
            continue
        if digest != _digest(spark, prepared, side, int(size)):
            raise ModelError(
                f"{folder} was trained on other {side}: its first {int(size):,} {side} are not tonight's.",
                "Use a model of this --root, or train one: indices of another workspace mean other ids.",
            )


def _digest(spark: "SparkSession", prepared: Prepared, side: str, size: int) -> str:
    table, idx_name, id_name = _SIDES[side]
    return vocabulary_digest(read_table(spark, prepared.folder / table), idx_name, id_name, size)


def _has_lost(spark: "SparkSession", prepared: Prepared, side: str, size: int) -> bool:
    table, idx_name, id_name = _SIDES[side]
    known = read_table(spark, prepared.folder / table).filter(F.col(idx_name) < size)
    return not known.filter(F.col(id_name).isNull()).isEmpty()


def _has_user_table(model: dict[str, Any]) -> bool:
    return model["kind"] in _WITH_USER_TABLE or any(map(_has_user_table, model.get("members", [])))
