"""What an ensemble's gate is fitted on: a sample of users with validation events, and what the members say of them.

Histories and opinions come from train events alone, as at scoring; test events are never read.

Legend: B users, m members, N items, K list length, T taken items, X candidates.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from kdspark import tables
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.validation import item_lists, sample_users
from kdspark.config import MixtureConfig
from kdspark.distill.gate import GateExamples, fit_gate
from kdspark.distill.scores import history_mask
from kdspark.errors import TrainingError
from kdspark.models.ensemble import Ensemble
from kdspark.models.weighing import Gate, facts
from kdspark.tables import PAD

Ints = npt.NDArray[np.int64]
_BLOCK_FLOATS = 1 << 24
"""Scores of all members that are held at a time."""


def train_gate(ensemble: Ensemble, config: MixtureConfig, prepared: Prepared, seed: int) -> Gate:
    """Fit the gate of an ensemble whose members were trained on the train events.

    Args:
        ensemble: in evaluation mode; without a weigher, or its own is not asked.
        seed: of the sample.

    Raises:
        TrainingError: there are no validation events, or none on items and users that the members know.
    """
    users = sample_users(prepared, config.users, seed) if prepared.has_validation else np.empty(0, np.int64)
    if not len(users):
        raise TrainingError(
            "A gate is fitted on validation events, and there are none.",
            "Choose `combine: fixed` or `agreement` for the ensemble, or a split that leaves some.",
        )
    return fit_gate(config, ensemble.weights, gate_examples(ensemble, config, prepared, users))


def gate_examples(ensemble: Ensemble, config: MixtureConfig, prepared: Prepared, users: Ints) -> GateExamples:
    """Candidates are the members' opinions but for items of the train events, and what the user took.

    In a log with repeats, train items stay. Users who took nothing that the members know are left out.
    """
    batch = prepared.user_rows(users, "train")
    users = batch.user_idx.numpy()
    taken_BT = _padded(users, *prepared.events_of(users, [tables.VALID]))
    nothing = np.empty(0, np.int64)
    old_BT = _padded(users, *((nothing, nothing) if prepared.repeats else prepared.events_of(users, [tables.TRAIN])))
    size = max(1, _BLOCK_FLOATS // (ensemble.n_catalogue * len(ensemble.members)))
    parts: list[tuple[Tensor, ...]] = []
    with torch.no_grad():
        items_ND = ensemble.encode_items()
        for start in tqdm(range(0, len(users), size), desc="gate", unit="block", mininterval=1.0):
            part = slice(start, start + size)
            z_BmN, opinions = ensemble.judge(batch.take(part), items_ND, config)
            known_BT = torch.where(_allowed(ensemble, taken_BT[part]), taken_BT[part], PAD)
            old_BN = history_mask(old_BT[part], [], ensemble.n_catalogue)
            items_BX, present_BX = candidates(known_BT, opinions.items_BMK.flatten(1), old_BN)
            z_BmX = z_BmN.gather(2, items_BX.clamp(min=0)[:, None].expand(-1, z_BmN.shape[1], -1))
            truth_BX = present_BX & (torch.arange(items_BX.shape[1]) < known_BT.shape[1])
            parts.append((facts(opinions), opinions.known_BM, z_BmX, present_BX, truth_BX))
    whole = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
    usable_B = whole[-1].any(dim=1) & whole[1].any(dim=1)
    if not bool(usable_B.any()):
        raise TrainingError(
            "A gate is fitted on validation events, and the members know none of their users or items.",
            "Choose `combine: fixed` or `agreement` for the ensemble, or a split with more train events.",
        )
    return GateExamples(*(tensor[usable_B] for tensor in whole))


def candidates(taken_BT: Tensor, liked_BK: Tensor, old_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Items [B, T + K], taken ones first, and which of them count: each item once, none that is old unless taken."""
    old_BK = old_BN.gather(1, liked_BK.clamp(min=0))
    items_BX = torch.cat([taken_BT, torch.where(old_BK, PAD, liked_BK)], dim=1)
    sorted_BX, order_BX = items_BX.sort(dim=1, stable=True)
    first_BX = torch.ones_like(sorted_BX, dtype=torch.bool)
    first_BX[:, 1:] = sorted_BX[:, 1:] != sorted_BX[:, :-1]
    return items_BX, torch.zeros_like(first_BX).scatter(1, order_BX, first_BX) & (items_BX != PAD)


def _allowed(ensemble: Ensemble, items_BT: Tensor) -> Tensor:
    return ensemble.allowed()[items_BT.clamp(min=0)] & (items_BT != PAD)


def _padded(users: Ints, rows: Ints, items: Ints) -> Tensor:
    """The distinct items of each user, ascending, then PAD; int64 [B, T], T at least 1."""
    starts, flat = item_lists(users, rows, items)
    counts_B = np.diff(starts)
    padded_BT = np.full((len(users), max(1, counts_B.max())), PAD, np.int64)
    padded_BT[np.arange(padded_BT.shape[1]) < counts_B[:, None]] = flat
    return torch.from_numpy(padded_BT)
