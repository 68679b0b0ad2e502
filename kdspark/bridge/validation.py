"""NDCG on the validation events while a model trains: a fixed sample of users, the whole catalogue, no Spark.

Legend: B users, K list length.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from kdspark import tables
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared
from kdspark.config import TrainingConfig
from kdspark.errors import TrainingError
from kdspark.models.answers import Catalogue, answer
from kdspark.models.recommender import Recommender
from kdspark.models.storage import load_model
from kdspark.ranking.hashing import splitmix64
from kdspark.ranking.metrics import user_metrics

Ints = npt.NDArray[np.int64]
_BATCH = 1024


def validator(prepared: Prepared, config: TrainingConfig, seed: int) -> Callable[[Recommender], float]:
    """A function from a model to its mean NDCG@`valid_k` on a sample of `valid_users` users.

    Histories and masks come from train events alone; in a log with repeats nothing is masked.

    Raises:
        TrainingError: there are no validation events.
    """
    sample = sample_users(prepared, config.valid_users, seed)
    if not len(sample):
        raise TrainingError("There are no validation events.", "Choose a split that leaves some.")
    batch = prepared.user_rows(sample, "train")
    rows = batch.user_idx.numpy()
    truth = item_lists(rows, *prepared.events_of(rows, [tables.VALID]))
    nothing = np.empty(0, np.int64)
    seen = item_lists(rows, *((nothing, nothing) if prepared.repeats else prepared.events_of(rows, [tables.TRAIN])))
    name = f"ndcg@{config.valid_k}"

    def validate(model: Recommender) -> float:
        device = model.get_buffer("n_events").device
        total = 0.0
        with torch.inference_mode():
            catalogue = Catalogue(model.encode_items().to(torch.float32), model.allowed())
            for start in range(0, len(rows), _BATCH):
                part = slice(start, min(start + _BATCH, len(rows)))
                answers = answer(model, batch.take(part).to(device), catalogue)
                items_BK, _ = answers.top(config.valid_k, _rows(seen, part), threads=torch.get_num_threads())
                total += float(user_metrics(items_BK, _rows(truth, part), [config.valid_k])[name].sum())
        return total / len(rows)

    return validate


def validate_folder(prepared: Prepared, folder: Path, config: TrainingConfig, seed: int) -> float:
    """What `validator` says of a finished model, of any kind; `folder` is its model folder.

    Raises:
        TrainingError: there are no validation events.
        ModelError: the folder is damaged.
    """
    return validator(prepared, config, seed)(load_model(folder, load_items(prepared.items("train"))))


def sample_users(prepared: Prepared, size: int, seed: int) -> Ints:
    """The `size` users with validation events whose hashes are smallest, ascending; one file of events at a time."""
    kept = np.empty(0, np.int64)
    for users, _ in prepared.event_blocks([tables.VALID]):
        everyone = np.union1d(kept, users)
        kept = everyone[np.argsort(splitmix64(everyone, seed), kind="stable")[:size]]
    return np.sort(kept)


def item_lists(rows: Ints, users: Ints, items: Ints) -> tuple[Ints, Ints]:
    """Distinct items per row, for rows ascending."""
    pairs = np.unique(np.stack([users, items]), axis=1)
    pairs = pairs[:, np.isin(pairs[0], rows)]
    counts = np.bincount(np.searchsorted(rows, pairs[0]), minlength=len(rows))
    return np.concatenate([[0], np.cumsum(counts)]), pairs[1]


def _rows(csr: tuple[Ints, Ints], part: slice) -> tuple[Ints, Ints]:
    indptr, indices = csr
    bounds = indptr[part.start : part.stop + 1]
    return bounds - bounds[0], indices[bounds[0] : bounds[-1]]
