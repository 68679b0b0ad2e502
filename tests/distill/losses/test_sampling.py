"""Draws without replacement: distinct, from what is there, and as often as the weights say."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from kdspark.distill.losses.sampling import draw_columns, gumbel_like, in_order, rank_log_weights, take
from kdspark.tables import PAD


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 10), st.integers(0, 99))
def test_distinct_columns_of_what_is_there(rows: int, columns: int, size: int, seed: int) -> None:
    torch.manual_seed(seed)
    present = torch.rand(rows, columns) < 0.6
    drawn = draw_columns(torch.where(present, torch.randn(rows, columns), -torch.inf), size)
    assert drawn.shape == (rows, min(size, columns))
    for row in range(rows):
        found = [column for column in drawn[row].tolist() if column != PAD]
        assert len(found) == len(set(found)) == min(size, columns, int(present[row].sum()))
        assert present[row, found].all()


def test_frequencies_follow_the_weights() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([1.0, 2.0, 5.0])
    drawn = draw_columns(weights.log().expand(40_000, 3), 2)
    first = torch.bincount(drawn[:, 0], minlength=3) / len(drawn)
    torch.testing.assert_close(first, weights / 8, atol=0.01, rtol=0)
    # Second after 2 was first: 1 and 2 remain, with weights 1 and 2.
    second = torch.bincount(drawn[drawn[:, 0] == 2, 1], minlength=3).float()
    torch.testing.assert_close(second / second.sum(), torch.tensor([1 / 3, 2 / 3, 0]), atol=0.01, rtol=0)


def test_order_and_take_by_hand() -> None:
    drawn = torch.tensor([[3, PAD, 0], [PAD, 2, 1]])
    assert in_order(drawn).tolist() == [[0, 3, PAD], [1, 2, PAD]]
    assert take(torch.tensor([[5, 6, 7, 8], [1, 2, 3, 4]]), drawn).tolist() == [[8, 5, 5], [1, 3, 2]]


def test_rank_weights_by_hand() -> None:
    weights = rank_log_weights(torch.tensor([[True, False, True]]), decay=4.0)
    assert weights.tolist() == [[0.0, -torch.inf, -0.5]]


def test_noise_is_a_standard_gumbel_and_seeded() -> None:
    torch.manual_seed(1)
    noise = gumbel_like(torch.empty(100_000))
    assert torch.isfinite(noise).all()
    assert abs(float(noise.mean()) - 0.5772) < 0.02
    assert abs(float(noise.var()) - 1.6449) < 0.05
    torch.manual_seed(1)
    assert torch.equal(gumbel_like(torch.empty(100_000)), noise)
