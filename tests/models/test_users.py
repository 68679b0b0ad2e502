"""User encoders by hand: what each makes of a history, and whom it knows."""

import numpy as np
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
    encoder = IdEncoder(2, 2, 0.0).eval()
    with torch.no_grad():
        encoder.table.weight[1] = torch.tensor([1.0, 2.0])
    one = batch([[PAD]], [user])
    assert encoder(one, VECTORS, 3)[0].tolist() == expected
    assert encoder.knows(one, 3).tolist() == [any(expected)]  # user 0 has a row, but never trained it


def test_a_user_without_a_free_vector_is_folded_in_from_the_history():
    encoder = IdEncoder(3, 2, 0.0).eval()
    with torch.no_grad():
        encoder.table.weight[:2] = torch.tensor([[3.0, 4.0], [0.0, 15.0]])  # lengths 5 and 15: 10 in the mean
    gram = (VECTORS.T @ VECTORS).double().numpy()
    ridge = 0.01 * np.trace(gram) / 2
    expected = np.linalg.solve(gram + ridge * np.eye(2), VECTORS[[0, 2]].double().sum(0).numpy())
    users = batch([[PAD, 0, 2], [PAD, 0, 2], [PAD, 0, 99], [PAD, PAD, PAD]], [2, 7, 0, 7])
    vectors = encoder(users, VECTORS, 3)
    folded = torch.tensor(expected / np.linalg.norm(expected) * 10, dtype=torch.float32)
    torch.testing.assert_close(vectors[:2], folded.expand(2, -1), rtol=1e-3, atol=1e-3)
    assert vectors[2:].tolist() == [[3.0, 4.0], [0.0, 0.0]]
    assert encoder.knows(users, 3).tolist() == [True, True, True, False]


def test_folding_in_finds_the_space_of_the_users_it_stands_for():
    generator = torch.Generator().manual_seed(5)
    items = torch.randn(400, 6, generator=generator)
    true = torch.randn(50, 6, generator=generator)
    history = (true @ items.T + 0.5 * torch.randn(50, 400, generator=generator)).topk(20, dim=1).indices
    encoder = IdEncoder(1, 6, 0.0).eval()
    with torch.no_grad():
        encoder.table.weight.fill_(1.0)
    folded = encoder(batch(history.tolist(), list(range(1, 51))), items, 400)
    assert torch.cosine_similarity(folded, true).mean() > 0.9


def test_the_length_of_folded_vectors_is_read_once_and_again_after_training(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, norm, sizes = IdEncoder(3, 2, 0.0).eval(), torch.linalg.vector_norm, []

    def spy(x: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
        sizes.append(tuple(x.shape))
        return norm(x, *args, **options)

    monkeypatch.setattr(torch.linalg, "vector_norm", spy)
    stranger = batch([[PAD, 0, 2]], [7])
    for length in (5.0, 2.0):
        encoder.train()
        with torch.no_grad():
            encoder.table.weight.copy_(torch.tensor([[length, 0.0], [0.0, length], [0.0, 0.0]]))
        encoder.eval()
        for _ in range(3):
            assert float(encoder(stranger, VECTORS, 3).detach().norm()) == pytest.approx(length)
    assert sizes.count((3, 2)) == 2
