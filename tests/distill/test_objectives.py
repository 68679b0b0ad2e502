"""Objectives against losses computed by hand from the model's scores."""

import pytest
import torch
import torch.nn.functional as F

from kdspark.config import DistillConfig, TrainingConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.objectives import ExampleObjective
from kdspark.distill.scores import history_mask
from kdspark.distill.targets import rank_targets
from kdspark.errors import TrainingError
from kdspark.models.recommender import Recommender
from tests.models import zoo

FULL = TrainingConfig()


def distill(**values: object) -> DistillConfig:
    return DistillConfig.model_validate({"lambda": 0.0} | values)


def rows() -> ExampleBatch:
    users = zoo.batch(4)
    targets = torch.tensor([[3], [4], [5], [6]])
    candidates = torch.tensor([[1, 2, 8, 9], [2, 3, 10, -1], [7, 6, 11, 12], [-1, -1, -1, -1]])
    return ExampleBatch(users, targets, candidates, torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))


def masked_scores(model: Recommender, batch: ExampleBatch, with_candidates: bool) -> torch.Tensor:
    items_ND = model.encode_items()
    scores = model.encode_users(batch.users, items_ND) @ items_ND.T
    for row in range(len(batch)):
        keep = set(batch.targets[row].tolist())
        if with_candidates:
            assert batch.candidates is not None
            keep |= set(batch.candidates[row].tolist())
        for item in set(batch.users.history[row].tolist()) - keep - {-1}:
            scores[row, item] = -torch.inf
    return scores


def test_hard_only_is_the_cross_entropy_of_the_unseen_catalogue() -> None:
    model, batch = zoo.ZOO["gru"](), rows()
    parts = ExampleObjective(model, distill(), FULL)(batch)
    expected = F.cross_entropy(masked_scores(model, batch, False), batch.targets[:, 0])
    torch.testing.assert_close(parts["loss"], expected)
    assert set(parts) == {"loss", "hard"}


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_catalogue_kl(temperature: float) -> None:
    model, batch = zoo.ZOO["bag_features_only"](), rows()
    config = distill(candidates="catalogue", hard_weight=0.5, temperature=temperature, **{"lambda": 3.0})
    parts = ExampleObjective(model, config, FULL, top_k=2)(batch)
    scores = masked_scores(model, batch, True)
    assert batch.candidates is not None
    p = torch.zeros_like(scores)
    p.scatter_add_(1, batch.candidates.clamp(min=0), rank_targets(batch.candidates, 2, 10.0))
    log_q = (scores / temperature).log_softmax(1)
    kl = torch.where(p > 0, p * (p.clamp(min=1e-30).log() - log_q), 0.0).sum(1)[:3].mean()  # row 3: no candidates
    torch.testing.assert_close(parts["soft"], kl, rtol=1e-4, atol=1e-5)
    hard = F.cross_entropy(scores, batch.targets[:, 0])
    torch.testing.assert_close(parts["loss"], 0.5 * hard + 3 * temperature**2 * kl, rtol=1e-4, atol=1e-5)


def test_candidates_kl_is_torchs() -> None:
    model, batch = zoo.ZOO["cnn"](), rows()
    batch = ExampleBatch(batch.users.take(slice(0, 1)), batch.targets[:1], batch.candidates[:1], batch.logits[:1])  # type: ignore[index]
    config = distill(targets="score", temperature=2.0, hard_weight=0.0, **{"lambda": 1.0})
    parts = ExampleObjective(model, config, FULL, top_k=2)(batch)
    items_ND = model.encode_items()
    own = (model.encode_users(batch.users, items_ND) @ items_ND.T)[:, batch.candidates[0]]  # type: ignore[index]
    expected = F.kl_div((own / 2).log_softmax(1), (batch.logits / 2).softmax(1), reduction="batchmean")  # type: ignore[operator]
    torch.testing.assert_close(parts["soft"], expected)
    torch.testing.assert_close(parts["loss"], 4 * expected)


def test_sampling_the_whole_catalogue_is_the_full_kl() -> None:
    model, batch = zoo.ZOO["bag"](), rows()
    config = distill(candidates="catalogue", hard_weight=0.0, **{"lambda": 1.0})
    full = ExampleObjective(model, config, FULL, top_k=2, mask_history=False)(batch)
    sampled = ExampleObjective(model, config, TrainingConfig(negatives=zoo.N_ITEMS), top_k=2)(batch)
    torch.testing.assert_close(sampled["loss"], full["loss"], rtol=1e-4, atol=1e-5)


def test_sampled_hard_loss_is_near_the_full_one() -> None:
    model, batch = zoo.ZOO["bag"](), rows()
    full = ExampleObjective(model, distill(), FULL, mask_history=False)(batch)["loss"]
    objective = ExampleObjective(model, distill(), TrainingConfig(negatives=20), mask_history=False)
    torch.manual_seed(0)
    sampled = torch.stack([objective(batch)["loss"].detach() for _ in range(200)]).mean()
    assert float(sampled) == pytest.approx(float(full.detach()), rel=0.05)


def test_soft_labels_are_required_where_lambda_asks_for_them() -> None:
    batch = rows()
    plain = ExampleBatch(batch.users, batch.targets)
    with pytest.raises(TrainingError, match="no soft labels"):
        ExampleObjective(zoo.ZOO["gru"](), distill(**{"lambda": 1.0}), FULL)(plain)


def test_history_mask_by_hand() -> None:
    mask = history_mask(torch.tensor([[-1, 1, 2, 99]]), [torch.tensor([[2, -1]])], 4)
    assert mask.tolist() == [[False, True, False, False]]


def test_step_bytes_count_the_scores_of_the_catalogue() -> None:
    model = zoo.ZOO["gru"]()
    n, sampled = model.n_catalogue, TrainingConfig(negatives=8)
    soft_only = distill(hard_weight=0.0, **{"lambda": 1.0})
    assert ExampleObjective(model, distill(), FULL).step_bytes(10) == 10 * n * 21
    assert ExampleObjective(model, soft_only, FULL).step_bytes(10) == 0  # softmax over the row's candidates alone
    assert ExampleObjective(model, distill(), sampled).step_bytes(10) == 0
