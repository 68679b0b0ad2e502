"""Which items take part, by hand and by comparing all with all."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from kdspark.distill.scores import history_mask, sample_items, sampled_mask


def test_history_mask_by_hand() -> None:
    mask = history_mask(torch.tensor([[-1, 1, 2, 99]]), [torch.tensor([[2, -1]])], 4)
    assert mask.tolist() == [[False, True, False, False]]


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 7), st.integers(0, 99))
def test_sampled_mask_is_the_comparison_of_all_with_all(n_items: int, size: int, length: int, seed: int) -> None:
    torch.manual_seed(seed)
    sampled = sample_items(n_items, size, torch.device("cpu"))
    items = torch.randint(-1, n_items + 2, (3, length))  # PAD, and items newer than the catalogue
    expected = (items[:, :, None] == sampled).any(dim=1)
    assert torch.equal(sampled_mask(sampled, items, n_items), expected)
