"""Starting a student from an earlier night's: whether it fits tonight's tables, and its weights among new rows.

Legend: U users of the vocabulary, N items, D dims.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds
import torch

from kdspark import tables
from kdspark.bridge.arrow import USER_COLUMNS, user_batch
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared, Scope
from kdspark.bridge.vocabulary import check_vocabulary
from kdspark.errors import ModelError
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.build import members_of
from kdspark.models.ensemble import Ensemble
from kdspark.models.growth import grow
from kdspark.models.neural import NeuralRecommender
from kdspark.models.recommender import Recommender
from kdspark.models.storage import describe_folder, load_model, save_model
from kdspark.models.users import IdEncoder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def misfit(spark: "SparkSession", prepared: Prepared, scope: Scope, folder: Path) -> str | None:
    """Why an earlier student, or as many copies, cannot become tonight's of the same configuration; None if it can."""
    try:
        check_vocabulary(spark, prepared, folder)
        described = members_of(describe_folder(folder)["model"])[0]
    except ModelError as error:
        return error.problem
    widths = {"user": prepared.user_sizes, "item": load_items(prepared.items(scope)).sizes}
    for side, tonight in widths.items():
        then = FeatureSizes(**described[f"{side}_sizes"])
        if (then.n_numbers, then.n_vector) != (tonight.n_numbers, tonight.n_vector):
            return (
                f"it knows {side} features of {then.n_numbers} numbers and {then.n_vector} vector entries, tonight "
                f"has {tonight.n_numbers} and {tonight.n_vector}"
            )
    return None


def member_folder(folder: Path, index: int) -> Path:
    """Where, below a folder of an ensemble's members, one of them lies."""
    return folder / f"member-{index}"


def write_members(ensemble: Path, prepared: Prepared, scope: Scope, out: Path) -> Path:
    """Write each member of an ensemble's folder as a model folder of its own; returns `out`, the folder of them all.

    Raises:
        ModelError: the folder is damaged, or holds no ensemble.
    """
    whole = load_model(ensemble, load_items(prepared.items(scope)))
    if not isinstance(whole, Ensemble):
        raise ModelError(f"{ensemble} holds a {whole.kind}, not an ensemble.", "Start from copies of a student.")
    for index, member in enumerate(whole.members):
        assert isinstance(member, Recommender)
        save_model(member, member_folder(out, index))
    return out


def start_from(
    folder: Path, model: Recommender, prepared: Prepared, items: ItemTable, scope: Scope, rows: Path
) -> None:
    """Give a fresh student the weights of an earlier one, and its new users what their histories tell.

    Args:
        folder: the earlier student's.
        model: changed in place, and left in evaluation mode.
        items: tonight's catalogue.
        rows: table of training rows. Only users who have some keep or get a vector of their own; the others, who
            would never be trained, are folded in whenever they are asked for, and whoever is gone is forgotten.

    Raises:
        ModelError: the folder is damaged, or does not fit.
    """
    old = load_model(folder, items)
    if not isinstance(old, NeuralRecommender) or not isinstance(model, NeuralRecommender):
        raise ModelError(f"{folder} holds a {old.kind}, which is not trained by steps.", "Start from a student.")
    grow(old, model)
    model.eval()
    if isinstance(model.user_encoder, IdEncoder):
        _fold_in(model, model.user_encoder, old.n_items, prepared.users(scope), _users_of(rows, model.n_users))


def _users_of(rows: Path, n_users: int) -> npt.NDArray[np.bool_]:
    """bool [U]: who has a training row."""
    found_U = np.zeros(n_users, np.bool_)
    for batch in ds.dataset(rows, format="parquet").to_batches(columns=[tables.USER_IDX]):
        found_U[np.asarray(batch.column(tables.USER_IDX), np.int64)] = True
    return found_U


def _fold_in(
    model: NeuralRecommender, encoder: IdEncoder, known_items: int, users: Path, trained_U: npt.NDArray[np.bool_]
) -> None:
    """Vectors for users who will be trained and have none, and for nobody else.

    Args:
        known_items: items that the old student knew; the others' vectors tell nothing yet.
        trained_U: who will be trained.
    """
    with torch.no_grad():
        items_ND, table_UD = model.encode_items()[:, :-1], encoder.table.weight
        wanted_U = torch.from_numpy(trained_U) & ~(table_UD != 0).any(dim=1)
        for batch in ds.dataset(users, format="parquet").to_batches(columns=USER_COLUMNS):
            everyone = user_batch(batch)
            some = everyone.take(wanted_U[everyone.user_idx])
            if len(some):
                table_UD[some.user_idx] = encoder.fold_in(some, items_ND, known_items)
        table_UD[torch.from_numpy(~trained_U)] = 0
