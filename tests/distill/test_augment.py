"""Augmentations: what they keep, what they change, and that a history never becomes empty."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdspark.config import ConsistencyConfig
from kdspark.distill.augment import augmented, cropped, masked, reordered, substituted
from kdspark.tables import PAD

ITEMS = 30
SHARES = st.floats(0.05, 1)


def _histories(rows: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Distinct items per row, left-aligned, of all lengths from none to `width`."""
    generator = torch.Generator().manual_seed(seed)
    items = torch.stack([torch.randperm(ITEMS, generator=generator)[:width] for _ in range(rows)])
    lengths = torch.randint(0, width + 1, (rows,), generator=generator)
    return torch.where(torch.arange(width) < lengths[:, None], items, PAD), lengths


def _rows(items: Tensor) -> list[list[int]]:
    return [[item for item in row if item != PAD] for row in items.tolist()]


@given(st.integers(1, 8), st.integers(1, 12), SHARES, st.integers(0, 99))
def test_crop_keeps_a_run_of_the_size_asked_for(rows: int, width: int, share: float, seed: int) -> None:
    items, lengths = _histories(rows, width, seed)
    torch.manual_seed(seed)
    for before, after in zip(_rows(items), _rows(cropped(items, lengths, share)), strict=True):
        assert len(after) == (0 if not before else max(1, -int(-(len(before) * share - 1e-6) // 1)))
        if after:
            start = before.index(after[0])
            assert before[start : start + len(after)] == after


def test_crop_starts_anywhere() -> None:
    torch.manual_seed(0)
    items = torch.arange(10).expand(20_000, 10)
    starts = cropped(items, torch.full((20_000,), 10), 0.8).clamp(min=0).argmax(dim=1) - 7
    torch.testing.assert_close(torch.bincount(starts) / 20_000, torch.full((3,), 1 / 3), atol=0.015, rtol=0)


@given(st.integers(1, 8), st.integers(1, 12), st.floats(0, 0.99), st.integers(0, 99))
def test_mask_keeps_order_and_never_everything_out(rows: int, width: int, rate: float, seed: int) -> None:
    items, lengths = _histories(rows, width, seed)
    torch.manual_seed(seed)
    found = masked(items, lengths, rate)
    assert ((found == items) | (found == PAD)).all()
    assert torch.equal((found != PAD).any(dim=1), lengths > 0)


def test_mask_leaves_out_as_many_as_asked() -> None:
    torch.manual_seed(0)
    found = masked(torch.arange(10).expand(5_000, 10), torch.full((5_000,), 10), 0.3)
    assert abs(float((found == PAD).float().mean()) - 0.3) < 0.01


@given(st.integers(1, 8), st.integers(1, 12), SHARES, st.integers(0, 99))
def test_reorder_shuffles_within_one_run(rows: int, width: int, share: float, seed: int) -> None:
    items, lengths = _histories(rows, width, seed)
    torch.manual_seed(seed)
    found = reordered(items, lengths, share)
    assert torch.equal(found == PAD, items == PAD)
    for before, after in zip(_rows(items), _rows(found), strict=True):
        assert sorted(before) == sorted(after)
        moved = [place for place in range(len(before)) if before[place] != after[place]]
        if moved:
            assert moved[-1] - moved[0] < -int(-(len(before) * share - 1e-6) // 1)


def test_reorder_makes_every_order_of_the_run() -> None:
    torch.manual_seed(0)
    found = reordered(torch.arange(3).expand(12_000, 3), torch.full((12_000,), 3), 1.0)
    codes = torch.bincount((found * torch.tensor([9, 3, 1])).sum(dim=1))
    assert (codes > 0).sum() == 6
    torch.testing.assert_close(codes[codes > 0] / 12_000, torch.full((6,), 1 / 6), atol=0.02, rtol=0)


def test_substitute_takes_the_most_similar_of_the_pool() -> None:
    # Angles: 0 at 0, 1 at 10, 2 at 50, 3 at 60 and 4 at 180 degrees; lengths do not matter.
    angles = torch.deg2rad(torch.tensor([0.0, 10, 50, 60, 180]))
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([[1.0], [9], [2], [0.1], [1]])
    history = torch.tensor([[0, 1, 2, 3, 4, PAD]])
    assert substituted(history, 1.0, vectors, torch.arange(5)).tolist() == [[1, 0, 3, 2, 3, PAD]]
    assert substituted(history, 1.0, vectors, torch.tensor([0, 4])).tolist() == [[4, 0, 0, 0, 0, PAD]]
    assert torch.equal(substituted(history, 0.0, vectors, torch.arange(5)), history)


@given(st.integers(0, 99), st.integers(0, 6))
def test_views_are_histories_of_known_items_in_any_layout(seed: int, length: int) -> None:
    torch.manual_seed(seed)
    history = torch.randint(-1, ITEMS + 5, (4, length))
    config = ConsistencyConfig(crop=0.5, mask=0.5, reorder=1.0, substitute=0.5)
    found = augmented(history, config, torch.randn(ITEMS + 5, 3), ITEMS)
    known = (history >= 0) & (history < ITEMS)
    assert torch.equal((found != PAD).any(dim=1), known.any(dim=1))
    assert ((found == PAD) | (found < ITEMS)).all()
    torch.manual_seed(seed)
    again_history = torch.randint(-1, ITEMS + 5, (4, length))
    again = augmented(again_history, config, torch.randn(ITEMS + 5, 3), ITEMS)
    assert torch.equal(again, found)


def test_each_row_draws_one_of_the_augmentations_switched_on() -> None:
    torch.manual_seed(0)
    history = torch.arange(10).expand(2_000, 10)
    config = ConsistencyConfig(crop=0.5, mask=0.0, reorder=1.0)
    found = augmented(history, config, torch.randn(ITEMS, 3), ITEMS)
    cropped_rows = (found == PAD).sum(dim=1) == 5
    assert abs(float(cropped_rows.float().mean()) - 0.5) < 0.05
    assert (found[~cropped_rows] != PAD).all()
