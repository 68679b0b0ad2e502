"""Which items take part, by hand."""

import torch

from kdspark.distill.scores import history_mask


def test_history_mask_by_hand() -> None:
    mask = history_mask(torch.tensor([[-1, 1, 2, 99]]), [torch.tensor([[2, -1]])], 4)
    assert mask.tolist() == [[False, True, False, False]]
