"""Users encoded by the length of their histories: the vectors of encoding them together, whoever shares the batch."""

import pytest
import torch
from torch import Tensor

from kdspark.models import lengths
from kdspark.models.batch import UserBatch
from kdspark.models.lengths import by_length
from kdspark.tables import PAD
from tests.models import zoo


def batch_of(sizes: list[int], longest: int) -> UserBatch:
    generator = torch.Generator().manual_seed(0)
    history = torch.randint(zoo.N_ITEMS, (len(sizes), longest), generator=generator)
    columns = torch.arange(longest, 0, -1)
    history = torch.where(columns <= torch.tensor(sizes)[:, None], history, PAD)
    codes, numbers = torch.empty(len(sizes), 0, dtype=torch.int64), torch.empty(len(sizes), 0)
    return UserBatch(torch.arange(len(sizes)), history, codes, numbers, numbers)


def sums(batch: UserBatch) -> Tensor:
    return torch.stack([batch.user_idx, (batch.history + 1).sum(dim=1)], dim=1).float()


@pytest.mark.parametrize("longest", [0, 1, 7, 8, 9, 50])
def test_each_user_once_in_its_place(longest: int) -> None:
    batch = batch_of([min(size, longest) for size in (0, 50, 3, 8, 9, 17, 1, 50)], longest)
    assert torch.equal(by_length(sums, batch), sums(batch))


def test_shapes_depend_on_a_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "_PLACES", 32)
    shapes: dict[int, tuple[int, ...]] = {}

    def encode(batch: UserBatch) -> Tensor:
        shapes.update({int(user): tuple(batch.history.shape) for user in batch.user_idx if user >= 0})
        return sums(batch)

    batch = batch_of([2, 20, 8, 9, 16, 17, 1, 0], 20)
    by_length(encode, batch)
    together = dict(shapes)
    assert together == {0: (4, 8), 2: (4, 8), 6: (4, 8), 7: (4, 8), 3: (2, 16), 4: (2, 16), 1: (1, 20), 5: (1, 20)}
    for row in range(len(batch)):
        by_length(encode, batch.take(slice(row, row + 1)))
    assert shapes == together


def test_items_behind_a_gap_count() -> None:
    batch = batch_of([12], 12)
    batch.history[0, 1:] = PAD
    assert torch.equal(by_length(sums, batch), sums(batch))
