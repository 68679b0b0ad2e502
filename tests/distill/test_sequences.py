"""The sequence objective against losses computed by hand from the model's scores."""

import dataclasses

import torch
import torch.nn.functional as F

from kdspark.config import TrainingConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.sequences import SequenceObjective
from kdspark.distill.windows import cut_windows
from tests.models import zoo

FULL = TrainingConfig()


def test_windows_by_hand() -> None:
    history = torch.tensor([[-1, 0, 1, 2, 3, 4, 5], [-1, -1, -1, -1, 7, -1, 8], [-1] * 6 + [9]])
    windows, source = cut_windows(history, 30, 3)
    found = {(int(row), tuple(window)) for row, window in zip(source, windows.tolist(), strict=True)}
    assert found == {(0, (2, 3, 4, 5)), (0, (-1, 0, 1, 2)), (1, (-1, -1, 7, 8))}


def test_sequence_objective_is_the_mean_over_all_positions() -> None:
    model = zoo.ZOO["transformer"]()
    users = zoo.batch(4, length=6)
    batch = ExampleBatch(users, torch.full((4, 1), -1))
    found = SequenceObjective(model, FULL, window=6, mask_history=False)(batch)["loss"]
    items_ND, losses = model.encode_items(), []
    for row in range(4):
        for end in range(1, 6):
            if users.history[row, end - 1] < 0:
                continue
            prefix = dataclasses.replace(users.take(slice(row, row + 1)), history=users.history[row : row + 1, :end])
            scores = model.encode_users(prefix, items_ND) @ items_ND.T
            losses.append(F.cross_entropy(scores, users.history[row, end : end + 1]))
    torch.testing.assert_close(found, torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


def test_sequence_softmax_leaves_seen_items_out() -> None:
    model = zoo.ZOO["gru"]()
    history = torch.tensor([[3, 7, 3, 9]])  # the third item is a repeat: a target stays in its own softmax
    users = dataclasses.replace(zoo.batch(1, length=4), history=history)
    batch = ExampleBatch(users, torch.full((1, 1), -1))
    found = SequenceObjective(model, FULL, window=6)(batch)["loss"]
    items_ND, losses = model.encode_items(), []
    for end, masked in ((1, [3]), (2, [7]), (3, [3, 7])):
        scores = model.encode_users(dataclasses.replace(users, history=history[:, :end]), items_ND) @ items_ND.T
        scores[0, masked] = -torch.inf
        losses.append(F.cross_entropy(scores, history[:, end]))
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_step_bytes_count_the_scores_of_the_catalogue() -> None:
    model = zoo.ZOO["gru"]()
    n, sampled = model.n_catalogue, TrainingConfig(negatives=8)
    assert SequenceObjective(model, FULL, 5).step_bytes(10) == 10 * n * 4
    assert SequenceObjective(model, sampled, 5).step_bytes(10) == 0
