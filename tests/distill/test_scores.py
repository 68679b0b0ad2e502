"""Which items take part, by hand."""

import pytest
import torch

from kdspark.distill.scores import history_mask, sample_items


def test_history_mask_by_hand() -> None:
    mask = history_mask(torch.tensor([[-1, 1, 2, 99]]), [torch.tensor([[2, -1]])], 4)
    assert mask.tolist() == [[False, True, False, False]]


@pytest.mark.parametrize(("n_items", "size"), [(7, 9), (40, 10), (5000, 60)])  # all, many, few among many
def test_sampled_items_are_distinct_and_uniform(n_items: int, size: int) -> None:
    torch.manual_seed(0)
    counts = torch.zeros(n_items)
    for _ in range(200):
        drawn = sample_items(n_items, size, torch.device("cpu"))
        assert len(drawn) == len(drawn.unique()) == min(size, n_items)
        counts[drawn] += 1
    halves = counts[: n_items // 2].mean(), counts[n_items // 2 :].mean()  # low numbers are not preferred
    expected = 200 * min(size, n_items) / n_items
    assert all(abs(half - expected) < 0.15 * expected for half in halves)
