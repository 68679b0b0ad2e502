"""The item table as model input, and serving bundles made from a model and a night's item table.

Legend: N items.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds

from kdspark import tables
from kdspark.bridge.arrow import fixed_lists
from kdspark.errors import StageError
from kdspark.models.batch import ItemTable
from kdspark.models.storage import load_model, save_serving, storage_of

_COLUMNS = [tables.ITEM_IDX, tables.N_EVENTS, tables.CODES, tables.NUMBERS, tables.VECTOR]


def load_items(folder: Path) -> ItemTable:
    """Read table "items" in the order of item_idx.

    Raises:
        StageError: the table does not hold each item_idx from 0 on exactly once.
    """
    parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in _COLUMNS}
    for batch in ds.dataset(folder, format="parquet").to_batches(columns=_COLUMNS):
        if batch.num_rows:
            parts[tables.ITEM_IDX].append(np.asarray(batch.column(tables.ITEM_IDX), np.int64))
            parts[tables.N_EVENTS].append(np.asarray(batch.column(tables.N_EVENTS), np.int64))
            parts[tables.CODES].append(fixed_lists(batch, tables.CODES, np.int64))
            parts[tables.NUMBERS].append(fixed_lists(batch, tables.NUMBERS, np.float32))
            parts[tables.VECTOR].append(fixed_lists(batch, tables.VECTOR, np.float32))
    if not parts[tables.ITEM_IDX]:
        raise StageError(f"{folder}: the item table is empty.", "Run `kdspark prepare` again.")
    whole = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    order = np.argsort(whole[tables.ITEM_IDX], kind="stable")
    if not np.array_equal(whole[tables.ITEM_IDX][order], np.arange(len(order))):
        raise StageError(f"{folder}: item_idx has gaps or duplicates.", "Run `kdspark prepare` again.")
    return ItemTable.from_numpy(
        codes=whole[tables.CODES][order],
        numbers=whole[tables.NUMBERS][order],
        vector=whole[tables.VECTOR][order],
        n_events=whole[tables.N_EVENTS][order],
    )


def serving_bundle(model_folder: Path, items: Path, trained_items: Path, out: Path) -> Path:
    """Write the serving bundle of a model for a night's catalogue, stored as the model is; returns its folder `out`.

    An item without a training event has no learned vector, so it is not recommended, unless every part of the model
    knows items by their features.

    Args:
        model_folder: what `save_model` wrote.
        items: table "items" whose features and counts to use.
        trained_items: table "items" of the scope that the model was trained on.
    """
    catalogue = load_items(items)
    model = load_model(model_folder, catalogue)
    if trained_items != items and not model.scores_new_items:
        trained_N = load_items(trained_items).n_events > 0
        fresh = len(catalogue) - len(trained_N)
        trained_N = np.concatenate([trained_N.numpy(), np.zeros(fresh, bool)])
        counts_N = np.where(trained_N, catalogue.n_events.numpy(), 0)
        catalogue = ItemTable.from_numpy(
            catalogue.codes.numpy(), catalogue.numbers.numpy(), catalogue.vector.numpy(), counts_N
        )
        model = load_model(model_folder, catalogue)
    save_serving(model, out, storage=storage_of(model_folder))
    return out
