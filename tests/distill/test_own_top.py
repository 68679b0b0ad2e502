"""The student's own top items, found exactly, kept by key, and refused where they do not fit."""

import dataclasses

import pytest
import torch

from kdspark.distill.batches import ExampleBatch
from kdspark.distill.own_top import OwnTop, exact_top
from kdspark.errors import TrainingError
from kdspark.ranking.index import ItemIndex
from kdspark.tables import PAD
from tests.distill.terms import steps


@pytest.mark.parametrize("size", [7, steps.ITEMS])
@pytest.mark.parametrize("masked", [True, False])
def test_the_exact_top_is_the_highest_of_the_catalogue(masked: bool, size: int) -> None:
    rows = steps.batch()
    assert rows.candidates is not None
    rows.targets[1] = rows.candidates[1, 0]  # known, but the teacher recommends it
    rows.users.history[2, 0] = 10_000  # unknown to the catalogue
    context = steps.context(rows, *steps.vectors(), mask_history=masked)
    found = torch.from_numpy(exact_top(context, ItemIndex(context.items_ND.detach().numpy()), size)).long()
    assert torch.equal(found, context.highest(size)[0])
    assert bool((found == PAD).any()) == (size == steps.ITEMS)


def _halves() -> list[ExampleBatch]:
    rows = dataclasses.replace(steps.batch(), keys=torch.tensor([9, 1 << 40, 3, 7, 5, 0]))
    return [_take(rows, slice(0, 4)), _take(rows, slice(4, 6))]


def _take(rows: ExampleBatch, part: slice) -> ExampleBatch:
    assert rows.candidates is not None
    assert rows.keys is not None
    return ExampleBatch(rows.users.take(part), rows.targets[part], rows.candidates[part], keys=rows.keys[part])


def test_rows_find_their_items_in_any_order() -> None:
    users, items = (vectors.detach() for vectors in steps.vectors())
    top = OwnTop(5)
    parts = [users[:4], users[4:]]
    top.find((steps.context(half, part, items) for half, part in zip(_halves(), parts, strict=True)), 8)
    whole = steps.context(steps.batch(), users, items).highest(5)[0]
    assert torch.equal(top.of(torch.tensor([0, 3, 9, 1 << 40])), whole[[5, 2, 0, 1]])
    with pytest.raises(TrainingError, match="was not there when the epoch began"):
        top.of(torch.tensor([0, 2]))
    with pytest.raises(TrainingError, match="no keys"):
        top.of(None)


def test_nothing_is_kept_before_it_was_found() -> None:
    with pytest.raises(TrainingError, match="was not there"):
        OwnTop(5).of(torch.tensor([0]))


def test_what_does_not_fit_is_refused_before_it_is_found() -> None:
    with pytest.raises(TrainingError, match=r"top 1,000 items of 1,000,000,000,000 training rows needs .* `reach`"):
        OwnTop(1000).find([], 10**12)
