"""Recommenders that are not trained by steps: solved, counted, fitted in Spark or loaded."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from kdspark import tables
from kdspark.bridge.als import fit_als
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import splits_of
from kdspark.bridge.request import Request
from kdspark.bridge.vocabulary import check_vocabulary
from kdspark.config import ALSConfig, EASEConfig, GFCFConfig, ItemItemConfig, PopularityConfig, PretrainedConfig
from kdspark.models.batch import ItemTable
from kdspark.models.build import build_model
from kdspark.models.closed_form import Factors, ease_bytes, fit_ease, gram
from kdspark.models.item_item import ItemItem
from kdspark.models.item_weights import ease_weights, gfcf_weights, interaction_matrix, pruned_ease_bytes
from kdspark.models.memory import require_memory
from kdspark.models.recommender import Recommender
from kdspark.models.storage import load_model
from kdspark.spark.io import read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def fit(
    spark: "SparkSession",
    config: ItemItemConfig | ALSConfig | PopularityConfig | PretrainedConfig,
    request: Request,
    out: Path,
) -> Recommender:
    """The recommender, from the events of the request's scope or from a folder; `out` is where it will lie.

    Raises:
        ModelError: a pre-trained folder is damaged, or of a workspace with other ids.
        TrainingError: its matrices do not fit into memory.
    """
    prepared = request.prepared
    items = load_items(prepared.items(request.scope))
    splits = splits_of(request.scope)
    if isinstance(config, PretrainedConfig):
        check_vocabulary(spark, prepared, Path(config.path))
        return load_model(Path(config.path), items)
    if isinstance(config, ItemItemConfig):
        return _fit_item_item(config, request, items)
    if isinstance(config, ALSConfig):
        scratch = out.with_name(f"{out.name}-factors")
        scratch.mkdir(parents=True)
        events = read_table(spark, prepared.interactions)
        events = events.filter(events[tables.SPLIT].isin(splits))
        users, factors = fit_als(events, config, prepared.n_users, prepared.n_items, request.seed, scratch)
        shutil.rmtree(scratch)
        return Factors.from_numpy(users, factors, items)
    return build_model(config, prepared.n_users, prepared.n_items, items, prepared.user_sizes, request.seed)


def _fit_item_item(config: ItemItemConfig, request: Request, items: ItemTable) -> Recommender:
    prepared, blocks = request.prepared, request.prepared.event_blocks(splits_of(request.scope))
    n_users, n_items = prepared.n_users, prepared.n_items
    if isinstance(config, EASEConfig) and config.keep is None:
        require_memory(
            ease_bytes(n_items),
            f"ease: item-item matrices of {n_items:,} items",
            "Set `keep` (1000, for example), raise `data.filters.min_item_events`, or choose another model.",
        )
        return fit_ease(config, gram(blocks, n_items), n_users, items)
    assert config.keep is not None
    matrix_UN = interaction_matrix(blocks, n_users, n_items)
    if isinstance(config, GFCFConfig):
        weights_NN = gfcf_weights(config, matrix_UN, config.keep, request.seed)
    else:
        assert isinstance(config, EASEConfig)
        require_memory(
            pruned_ease_bytes(n_users, n_items),
            f"ease: the inverse for {min(n_users, n_items):,} users or items",
            "Raise `data.filters.min_item_events`, or choose another model: EASE is for tens of thousands of items.",
        )
        weights_NN = ease_weights(config, matrix_UN, config.keep)
    return ItemItem(config, weights_NN, n_users, items)
