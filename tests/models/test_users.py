"""User encoders by hand: what each makes of a history, and whom it knows."""

import pytest
import torch

from kdspark.models.batch import UserBatch
from kdspark.models.users import BagEncoder, IdEncoder
from kdspark.tables import PAD


def batch(histories, users=None):
    rows = len(histories)
    empty = torch.empty(rows, 0)
    return UserBatch(torch.tensor(users or range(rows)), torch.tensor(histories), empty.long(), empty, empty)


VECTORS = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]])


def test_a_bag_weighs_each_recency_and_dimension():
    bag = BagEncoder(dim=2, window=3, dropout=0.0, input_dropout=0.0)
    with torch.no_grad():
        weights = torch.tensor([[4.0, 1.0], [2.0, 1.0], [1.0, 0.5]])  # latest first
        bag.log_weights.copy_(weights.log())
        bag.mix.weight.zero_()
        bag.mix.bias.copy_(torch.tensor([0.5, -0.5]))
    users = bag(batch([[PAD, 0, 1], [0, 1, 2], [PAD, PAD, PAD], [PAD, 1, 99]]), VECTORS, known_items=3)
    two = torch.tensor([(4 * 3 + 2 * 1) / 6**0.5, (5 + 2) / 2**0.5])
    three = torch.tensor([(4 * 7 + 2 * 3 + 1) / 7**0.5, (11 + 5 + 0.5 * 2) / 2.5**0.5])
    one = torch.tensor([3 * 4 / 4**0.5, 5.0])  # the unknown item 99 is as if it were not there
    shift = torch.tensor([0.5, -0.5])
    torch.testing.assert_close(users, torch.stack([two + shift, three + shift, torch.zeros(2), one + shift]))


def test_a_bag_reads_no_more_than_its_window():
    bag = BagEncoder(dim=2, window=2, dropout=0.0, input_dropout=0.0)
    long, short = bag(batch([[2, 0, 1], [PAD, 0, 1]]), VECTORS, 3)
    assert torch.equal(long, short)


def test_a_bag_knows_who_has_a_known_item():
    bag = BagEncoder(dim=2, window=2, dropout=0.0, input_dropout=0.0)
    assert bag.knows(batch([[PAD, 1], [PAD, PAD], [PAD, 3]]), 3).tolist() == [True, False, False]


@pytest.mark.parametrize(("user", "expected"), [(0, [0, 0]), (1, [1, 2]), (2, [0, 0]), (-1, [0, 0])])
def test_free_vectors_belong_to_users_of_the_table_alone(user, expected):
    encoder = IdEncoder(2, 2, 0.0)
    with torch.no_grad():
        encoder.table.weight[1] = torch.tensor([1.0, 2.0])
    one = batch([[PAD]], [user])
    assert encoder(one, VECTORS, 3)[0].tolist() == expected
    assert encoder.knows(one, 3).tolist() == [any(expected)]  # user 0 has a row, but never trained it
