"""A model of another workspace in tonight's: which items and categories are the same, and the weights among them.

Both vocabularies are read without Spark: they are as long as the catalogues, which the models hold in memory anyway.

Legend: M items known to both.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import torch

from kdspark import tables
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared, Scope
from kdspark.bridge.vocabulary import check_vocabulary
from kdspark.config import MFConfig, NeuralConfig, TransferConfig
from kdspark.errors import ModelError
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.build import build_model
from kdspark.models.neural import NeuralRecommender
from kdspark.models.storage import load_model
from kdspark.models.transfer import Pairs, transfer
from kdspark.workspace import read_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_COLUMNS = ("categorical", "multi_valued", "numeric", "dense")
_log = logging.getLogger("kdspark")


def vocabulary_of(config: TransferConfig) -> Path:
    """The other workspace's prepare folder: the one named, or that which the model's stage was made from.

    Raises:
        ModelError: none is named, and there is no manifest beside the model that tells.
    """
    if config.vocabulary is not None:
        return Path(config.vocabulary)
    stage = Path(config.path).absolute().parent
    try:
        key = str(read_json(stage / "manifest.json")["inputs"]["prepare"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{config.path} does not tell which items its numbers mean: no manifest of its stage lies beside it.",
            "Give `vocabulary`, the folder stages/prepare/... of the workspace that trained it.",
        ) from error
    return stage.parents[1] / "prepare" / key[:20]


def transferred(
    spark: "SparkSession", config: TransferConfig, prepared: Prepared, scope: Scope, seed: int
) -> tuple[NeuralRecommender, dict[str, Any]]:
    """The other workspace's model among tonight's items, and facts: items known to both, and their share.

    The share is of tonight's items with an event in this scope.

    Raises:
        ModelError: a folder is missing or damaged, they do not belong together, the model reads what means something
            else here, or too few items are known to it.
    """
    there = Prepared(vocabulary_of(config))
    check_vocabulary(spark, there, Path(config.path))
    old = load_model(Path(config.path), ItemTable.without_features(np.ones(there.n_items, np.int64)))
    items = load_items(prepared.items(scope))
    _check_features(old, config, there, prepared)
    assert isinstance(old, NeuralRecommender)
    pairs = _pairs(there.folder / "item_ids", prepared.folder / "item_ids", [tables.ITEM_ID], tables.ITEM_IDX)
    pairs = pairs[pairs.there < old.n_items]
    facts = _share(config, pairs, items, by_features=old.config.item_features)
    _check_strangers(old, config, facts, prepared)
    codes = _pairs(
        there.folder / "item_codes", prepared.folder / "item_codes", [tables.COLUMN, tables.VALUE], tables.CODE
    )
    codes = codes[codes.there < old.item_sizes.n_codes]
    new = build_model(old.config, prepared.n_users, prepared.n_items, items, prepared.user_sizes, seed)
    assert isinstance(new, NeuralRecommender)
    transfer(old, new, *(Pairs(*(torch.tensor(p[side].to_numpy()) for side in Pairs._fields)) for p in (pairs, codes)))
    _log.info("%s: knows %s of %s items", config.path, f"{facts['known']:,}", f"{facts['items']:,}")
    return new.eval(), facts


def tuned(config: TransferConfig, model: NeuralRecommender) -> NeuralConfig:
    """The transferred model's configuration, trained as the transfer says."""
    assert config.training is not None
    training = type(model.config.training).model_validate(config.training.model_dump())
    return model.config.model_copy(update={"training": training})


def _share(config: TransferConfig, pairs: pd.DataFrame, items: ItemTable, by_features: bool) -> dict[str, Any]:
    active_N = items.n_events.numpy() > 0
    known, total = int(active_N[pairs.here.to_numpy()].sum()), int(active_N.sum())
    facts = {"known": known, "items": total, "share": round(known / max(total, 1), 6)}
    if facts["share"] < config.least or not (known or by_features):
        raise ModelError(
            f"{config.path} knows {known:,} of tonight's {total:,} items, a share of {facts['share']:.3g}; at least "
            f"{config.least:.3g} is asked for.",
            "Lower `least` of the transfer, check that both logs have the same item ids, or train a teacher.",
        )
    return facts


def _check_features(old: object, config: TransferConfig, there: Prepared, here: Prepared) -> None:
    if not isinstance(old, NeuralRecommender) or isinstance(old.config, MFConfig):
        kind = getattr(old, "kind", "model")
        raise ModelError(
            f"{config.path} holds a {kind}, which knows its own users or nothing but items' numbers.",
            "Transfer a model that reads histories: bag, gru, lstm, cnn, transformer or two_tower.",
        )
    if old.config.user_features and not old.user_sizes == here.user_sizes == FeatureSizes():
        raise ModelError(
            f"{config.path} was built to read user features, and there or here are some: they mean something else.",
            "Transfer a model with `user_features: false`.",
        )
    if old.config.item_features:
        then, now = (_item_columns(prepared) for prepared in (there, here))
        if then != now:
            raise ModelError(
                f"{config.path} reads the item features {then}; tonight's `data.items` has {now}.",
                "Give `data.items` the same feature columns, or transfer a model with `item_features: false`.",
            )


def _check_strangers(old: NeuralRecommender, config: TransferConfig, facts: dict[str, Any], here: Prepared) -> None:
    strangers = facts["items"] - facts["known"]
    if config.training is None and strangers and not old.config.item_features:
        raise ModelError(
            f"{config.path} knows nothing of {strangers:,} of tonight's items, not even by features.",
            "Give the transfer a `training`, so that it learns them, or transfer a model with `item_features`.",
        )
    copies = not old.causal and here.examples_kind == "set" and getattr(old.config, "input_dropout", 1.0) == 0.0
    if config.training is not None and copies:
        raise ModelError(
            f"{config.path} has no `input_dropout`: in `examples.kind: set` it would learn to copy its input.",
            "Transfer a model that was trained with some, or leave its `training` out.",
        )


def _item_columns(prepared: Prepared) -> dict[str, Any]:
    side = read_json(prepared.folder / "manifest.json")["config"]["settings"]["data"]["items"] or {}
    return {name: side[name] for name in _COLUMNS if side.get(name)}


def _pairs(there: Path, here: Path, keys: list[str], number: str) -> pd.DataFrame:
    """Columns `there` and `here`: the numbers of equal keys, in the order of `here`. Keys are compared as text."""
    frames = [_as_text(folder, keys, number) for folder in (there, here)]
    merged = frames[0].merge(frames[1], on=keys, suffixes=("_there", "_here"), validate="one_to_one")
    found = pd.DataFrame({side: merged[f"{number}_{side}"].astype(np.int64) for side in Pairs._fields})
    return found.sort_values("here", ignore_index=True)


def _as_text(folder: Path, keys: list[str], number: str) -> pd.DataFrame:
    try:
        table = ds.dataset(folder, format="parquet").to_table(columns=[*keys, number])
    except (OSError, pa.ArrowException) as error:
        raise ModelError(f"{folder} cannot be read: {error}.", "Name the prepare folder of a workspace.") from error
    text = {key: pc.cast(table[key], pa.string()) for key in keys}
    frame = pd.DataFrame({name: column.to_pandas() for name, column in {**text, number: table[number]}.items()})
    return frame.dropna()  # items that have become sensitive have no id
