"""From configuration, or from a saved description, to a model."""

from typing import Any, cast

import torch
from pydantic import TypeAdapter

from kdspark.config import (
    EASEConfig,
    ItemItemConfig,
    NeuralConfig,
    PopularityConfig,
    RecommenderConfig,
    TrainableConfig,
)
from kdspark.errors import ModelError
from kdspark.models import weighing
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.closed_form import EASE, Factors, Popularity
from kdspark.models.ensemble import Ensemble
from kdspark.models.item_item import ItemItem
from kdspark.models.lightgcn import GraphFactors
from kdspark.models.neural import NeuralRecommender
from kdspark.models.recommender import Recommender

_CONFIGS: TypeAdapter[Any] = TypeAdapter(RecommenderConfig)


def build_model(
    config: TrainableConfig | PopularityConfig,
    n_users: int,
    n_items: int,
    items: ItemTable,
    user_sizes: FeatureSizes,
    seed: int,
) -> Recommender:
    """A model with fresh weights, the same for the same seed; torch's global generator is left as it was.

    Closed-form models are fitted instead (`closed_form`, `item_weights`), ensembles made of
    fitted members (`ensemble.Ensemble`), and pre-trained ones loaded (`storage.load_model`).

    Args:
        config: a trainable model, or popularity.
        n_users, n_items: sizes of the vocabularies.
        items: tonight's catalogue, at least `n_items` rows.
        user_sizes: widths of the user features.
        seed: of the initial weights.

    Raises:
        ModelError: the catalogue has fewer items than `n_items`.
        ConfigError: the configuration's sizes do not fit together.
    """
    if isinstance(config, PopularityConfig):
        return Popularity(n_users, n_items, items)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NeuralRecommender(config, n_users, n_items, items, user_sizes)


def members_of(description: dict[str, Any]) -> list[dict[str, Any]]:
    """The descriptions of an ensemble's members; a single model is its own only one."""
    members: list[dict[str, Any]] = description["members"] if description["kind"] == "ensemble" else [description]
    return members


def has_short_vectors(description: dict[str, Any]) -> bool:
    """Whether the described model scores by inner products of vectors that are shorter than the catalogue.

    No item-item model does, nor does an ensemble with one.
    """
    if description["kind"] == "ensemble":
        return all(has_short_vectors(member) for member in description["members"])
    return not ("config" in description and isinstance(_CONFIGS.validate_python(description["config"]), ItemItemConfig))


def from_description(description: dict[str, Any], items: ItemTable) -> Recommender:
    """The model that `Recommender.describe` described, its weights still to be loaded.

    Raises:
        ModelError: the kind is unknown, or the description does not fit.
    """
    try:
        kind = description["kind"]
        if kind == "ensemble":
            members = [from_description(member, items) for member in description["members"]]
            weigher = weighing.from_description(description["combine"]) if "combine" in description else None
            ensemble = Ensemble(members, description["weights"], items, weigher)
            ensemble.dims = description["dims"]
            return ensemble
        n_users, n_items = int(description["n_users"]), int(description["n_items"])
        if kind == "popularity":
            return Popularity(n_users, n_items, items)
        if kind == "als":
            dim = int(description["dim"])
            return Factors(torch.zeros(n_users, dim), torch.zeros(n_items, dim), items)
        if kind == "lightgcn":
            users_UD, items_ND = (torch.zeros(rows, int(description["dim"])) for rows in (n_users, n_items))
            return GraphFactors(users_UD, items_ND, torch.zeros_like(items_ND), items)
        config = _CONFIGS.validate_python(description["config"])
        if isinstance(config, ItemItemConfig) and config.keep is not None and config.model_dump()["kind"] == kind:
            return ItemItem.empty(config, n_items, int(description["n_weights"]), n_users, items)
        if kind == "ease" and isinstance(config, EASEConfig):
            return EASE(config, torch.zeros(n_items, n_items), n_users, items)
        if isinstance(config, NeuralConfig) and config.model_dump()["kind"] == kind:
            sizes = [FeatureSizes(**description[side]) for side in ("user_sizes", "item_sizes")]
            with torch.random.fork_rng(devices=[]):
                return NeuralRecommender(cast(TrainableConfig, config), n_users, n_items, items, *sizes)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model's description is damaged: {error}.", "Train the model again.") from error
    raise ModelError(f"Unknown kind of model {kind!r}.", "Load it with the kdspark version that wrote it.")
