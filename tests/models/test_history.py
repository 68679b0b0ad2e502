"""Histories against plain Python lists, for any padding, unknown items and window."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from kdspark.models.history import align_left, align_right, at_last, drop_items, lookup, position_mask, sampled_mask
from kdspark.tables import PAD

KNOWN = 6
histories = st.integers(0, 7).flatmap(
    lambda length: st.lists(
        st.lists(st.integers(-1, KNOWN + 2), min_size=length, max_size=length), min_size=1, max_size=5
    )
)


def known(row):
    return [item for item in row if 0 <= item < KNOWN]


@given(histories, st.integers(1, 9))
def test_align_left(rows, window):
    items, lengths = align_left(torch.tensor(rows).reshape(len(rows), -1).long(), KNOWN, window)
    width = min(max(1, len(rows[0])), window)
    assert items.shape == (len(rows), width)
    for row, found, length in zip(rows, items.tolist(), lengths.tolist(), strict=True):
        latest = known(row)[-width:]
        assert (found, length) == (latest + [PAD] * (width - len(latest)), len(latest))


@given(histories, st.integers(1, 9))
def test_align_right_puts_every_position_back_where_its_item_stands(rows, window):
    history = torch.tensor(rows).reshape(len(rows), -1).long()
    items, _ = align_left(history, KNOWN, window)
    values = (items + 1).to(torch.float32)[:, :, None]  # PAD is 0
    moved = align_right(values, history, KNOWN)[:, :, 0]
    if history.shape[1] == 0:
        assert moved.shape == items.shape
        assert not moved.any()
        return
    latest = history[:, -items.shape[1] :]
    expected = torch.where((latest >= 0) & (latest < KNOWN), latest + 1, 0)
    assert torch.equal(moved, expected.to(torch.float32))


def test_lookup_and_at_last_by_hand():
    vectors = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    items = torch.tensor([[2, 0, PAD], [PAD, PAD, PAD]])
    found = lookup(vectors, items)
    assert found.tolist() == [[[3, 30], [1, 10], [0, 0]], [[0, 0]] * 3]
    assert at_last(found, torch.tensor([2, 0])).tolist() == [[1, 10], [0, 0]]
    assert position_mask(torch.tensor([2, 0]), 3).tolist() == [[True, True, False], [False] * 3]


def test_dropped_items_are_as_many_as_asked_and_never_the_last():
    items, lengths = torch.arange(50).repeat(400, 1), torch.full((400,), 40)
    torch.manual_seed(0)
    dropped = drop_items(items, lengths, 0.3, training=True) == PAD
    assert abs(float(dropped[:, :39].float().mean()) - 0.3) < 0.02  # 15,600 draws: five standard deviations
    assert not dropped[:, 39].any()
    assert torch.equal(drop_items(items, lengths, 0.3, training=False), items)
    assert torch.equal(drop_items(items, lengths, 0.0, training=True), items)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 7), st.integers(0, 99))
def test_sampled_mask_is_the_comparison_of_all_with_all(n_items: int, size: int, length: int, seed: int) -> None:
    torch.manual_seed(seed)
    sampled = torch.randperm(n_items)[:size]
    items = torch.randint(-1, n_items + 2, (3, length))  # PAD, and items newer than the catalogue
    expected = (items[:, :, None] == sampled).any(dim=1)
    assert torch.equal(sampled_mask(sampled, items, n_items), expected)
