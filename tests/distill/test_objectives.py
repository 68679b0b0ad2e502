"""Objectives against losses computed by hand from the model's scores."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from kdspark.config import AgreementSchedule, DistillConfig, TrainingConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.objectives import ExampleObjective
from kdspark.distill.targets import rank_targets
from kdspark.errors import ConfigError, TrainingError
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
    p.scatter_add_(1, batch.candidates.clamp(min=0), rank_targets(batch.candidates, 2, config.rank_decay))
    log_q = (scores / temperature).log_softmax(1)
    kl = torch.where(p > 0, p * (p.clamp(min=1e-30).log() - log_q), 0.0).sum(1)[:3].mean()  # row 3: no candidates
    torch.testing.assert_close(parts["soft"], kl, rtol=1e-4, atol=1e-5)
    hard = F.cross_entropy(scores, batch.targets[:, 0])
    torch.testing.assert_close(parts["loss"], 0.5 * hard + 3 * temperature**2 * kl, rtol=1e-4, atol=1e-5)


def test_candidates_kl_is_torchs() -> None:
    model, batch = zoo.ZOO["cnn"](), rows()
    batch = ExampleBatch(batch.users.take(slice(0, 1)), batch.targets[:1], batch.candidates[:1], batch.logits[:1])  # type: ignore[index]
    config = distill(targets="score", candidates="candidates", temperature=2.0, hard_weight=0.0, **{"lambda": 1.0})
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


def _own_top(size: int, temperature: float = 1.0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The loss and its gradient by the full softmax, and with three drawn items beside the student's own top."""
    batch, found = dataclasses.replace(rows(), keys=torch.arange(4)), []
    common: dict[str, object] = {"lambda": 1.0, "candidates": "catalogue", "hard_weight": 0.0}
    for changes, training in (({}, FULL), ({"own_top": {"size": size, "refresh": 2}}, TrainingConfig(negatives=3))):
        config = distill(**common, temperature=temperature, **changes)
        objective = ExampleObjective(zoo.ZOO["bag"](), config, training, top_k=2)
        objective.eval()  # without dropout
        if objective.refresh:
            objective.find_own_top([batch], len(batch))
        loss = objective(batch)["loss"]
        loss.backward()
        gradient = next(p.grad for p in objective.model.parameters() if p.grad is not None)
        found.append((loss.detach(), gradient))
    return found


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_with_all_items_in_the_students_own_top_no_draw_matters(temperature: float) -> None:
    full, kept = _own_top(zoo.N_ITEMS, temperature)
    torch.testing.assert_close(kept, full, rtol=1e-4, atol=1e-5)


def test_a_part_of_the_students_own_top_makes_the_estimate_steadier() -> None:
    torch.manual_seed(3)
    spread = {size: float(torch.stack([_own_top(size)[1][0] for _ in range(40)]).std()) for size in (1, 6, 9)}
    assert spread[1] > spread[6] > spread[9] > 0


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


def losses(*kinds: str, **values: object) -> DistillConfig:
    return distill(losses=[{"kind": kind, "weight": 2.0 + index} for index, kind in enumerate(kinds)], **values)


def teacher_items() -> torch.Tensor:
    return torch.randn(zoo.N_ITEMS, 6, generator=torch.Generator().manual_seed(2))


def with_vectors() -> ExampleBatch:
    return dataclasses.replace(rows(), teacher_vectors=torch.randn(4, 6, generator=torch.Generator().manual_seed(3)))


SCORED, VECTOR = ("rd", "cd", "rrd", "unkd", "rce"), ("de", "topology")


def test_the_loss_is_the_weighted_sum_of_all_parts() -> None:
    config = losses(*SCORED, *VECTOR, hard_weight=0.5, temperature=2.0, **{"lambda": 3.0})
    objective = ExampleObjective(zoo.ZOO["bag"](), config, FULL, 2, teacher_items_NE=teacher_items())
    parts = objective(with_vectors())
    assert list(parts) == ["loss", "hard", "soft", *SCORED, *VECTOR]
    expected = 0.5 * parts["hard"] + 3 * 4 * parts["soft"]
    for index, kind in enumerate((*SCORED, *VECTOR)):
        expected = expected + (2 + index) * parts[kind]
    torch.testing.assert_close(parts["loss"].detach(), expected)
    assert all(not part.requires_grad for name, part in parts.items() if name != "loss")


@pytest.mark.parametrize("negatives", [0, 8])
def test_losses_alone_train_the_student(negatives: int) -> None:
    torch.manual_seed(0)
    model = zoo.ZOO["gru"]().train()
    config = losses(*SCORED, hard_weight=0.0)
    objective = ExampleObjective(model, config, TrainingConfig(negatives=negatives), 2)
    parts = objective(rows())
    assert set(parts) == {"loss", *SCORED}
    parts["loss"].backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_what_is_not_configured_draws_nothing() -> None:
    """Training without further losses is to the last bit what it was before there were any."""
    config = distill(candidates="catalogue", **{"lambda": 1.0})
    objective = ExampleObjective(zoo.ZOO["bag"](), config, TrainingConfig(negatives=8), 2)
    assert objective.state_dict().keys() == {f"model.{name}" for name in objective.model.state_dict()}
    torch.manual_seed(4)
    objective(rows())
    left = torch.rand(1)
    torch.manual_seed(4)
    torch.randperm(zoo.N_ITEMS), torch.randperm(zoo.N_ITEMS)  # the hard and the soft part's samples
    assert torch.equal(torch.rand(1), left)


def test_equal_seeds_make_equal_objectives() -> None:
    config = losses(*SCORED, *VECTOR)
    made = []
    for seed in (1, 1, 2):
        objective = ExampleObjective(zoo.ZOO["bag"](), config, FULL, 2, teacher_items_NE=teacher_items(), seed=seed)
        torch.manual_seed(0)
        made.append((objective.state_dict(), objective(with_vectors())))
    (first, first_parts), (second, second_parts), (other, _) = made
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(first_parts[name], second_parts[name]) for name in first_parts)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_vectors_of_a_teacher_are_constants_that_follow_the_device_and_are_not_saved() -> None:
    objective = ExampleObjective(zoo.ZOO["bag"](), losses("de"), FULL, 2, teacher_items_NE=teacher_items())
    assert "teacher_items_NE" in dict(objective.named_buffers())
    assert "teacher_items_NE" not in objective.state_dict()
    assert any(name.startswith("terms.0.") for name, _ in objective.named_parameters())


def test_what_a_loss_reads_must_be_there() -> None:
    model, batch = zoo.ZOO["bag"](), rows()
    plain = ExampleBatch(batch.users, batch.targets)
    with pytest.raises(TrainingError, match="no soft labels"):
        ExampleObjective(model, losses("rrd"), FULL)(plain)
    with pytest.raises(ConfigError, match="de needs the teacher's vectors"):
        ExampleObjective(model, losses("de"), FULL)
    with pytest.raises(ConfigError, match="vectors of 3 items, the student's catalogue has 30"):
        ExampleObjective(model, losses("de"), FULL, teacher_items_NE=torch.ones(3, 2))
    objective = ExampleObjective(model, losses("topology"), FULL, teacher_items_NE=teacher_items())
    with pytest.raises(TrainingError, match="no vectors of the teacher"):
        objective(plain)
    assert set(objective(dataclasses.replace(plain, teacher_vectors=torch.ones(4, 6)))) == {"loss", "hard", "topology"}


def test_digests_tell_objectives_apart() -> None:
    model = zoo.ZOO["bag"]()
    digests = {
        ExampleObjective(model, config, FULL, top_k, masked).digest()
        for config in (distill(), losses("rd"), losses("rrd"))
        for top_k in (2, 3)
        for masked in (True, False)
    }
    assert len(digests) == 12


def test_step_bytes_count_the_scores_of_the_catalogue() -> None:
    model = zoo.ZOO["gru"]()
    n, sampled = model.n_catalogue, TrainingConfig(negatives=8)
    soft_only = distill(hard_weight=0.0, candidates="candidates", **{"lambda": 1.0})
    assert ExampleObjective(model, distill(), FULL).step_bytes(10) == 10 * n * 4
    smooth = TrainingConfig(label_smoothing=0.1)
    assert ExampleObjective(model, distill(), smooth).step_bytes(10) == 10 * n * 21
    both = DistillConfig.model_validate({"candidates": "catalogue"})
    assert ExampleObjective(model, both, FULL).step_bytes(10) == 10 * n * 4  # one log Z for both parts
    assert ExampleObjective(model, both, FULL, mask_history=False).step_bytes(10) == 10 * n * 8  # each its own
    assert ExampleObjective(model, soft_only, FULL).step_bytes(10) == 0  # softmax over the row's candidates alone
    assert ExampleObjective(model, distill(), sampled).step_bytes(10) == 0
    # Ranking the catalogue takes its scores once more, without gradients.
    assert ExampleObjective(model, losses("rce"), sampled).step_bytes(10) == 10 * n * 5
    assert ExampleObjective(model, losses("rce"), FULL).step_bytes(10) == 10 * n * 9
    for way in ("pool", "refresh"):
        config = distill(losses=[{"kind": "rce", way: 16}], hard_weight=0.0)
        assert ExampleObjective(model, config, FULL).step_bytes(10) == 0
    assert ExampleObjective(model, losses("rd", "unkd", hard_weight=0.0), FULL).step_bytes(10) == 0


def test_the_soft_part_leaves_out_the_items_of_a_set_that_its_hard_part_learns() -> None:
    model, batch = zoo.ZOO["mf"](), rows()
    batch = dataclasses.replace(batch, targets=batch.users.history)
    config = distill(candidates="catalogue", **{"lambda": 3.0})
    parts = ExampleObjective(model, config, FULL, top_k=2, mask_history=False)(batch)
    items_ND = model.encode_items()
    scores = model.encode_users(batch.users, items_ND) @ items_ND.T
    losses = []
    for row in range(3):  # the last row has no candidates
        assert batch.candidates is not None
        candidates = batch.candidates[row][:2]
        left = [i for i in range(zoo.N_ITEMS) if i not in batch.users.history[row] or i in batch.candidates[row]]
        p = torch.softmax(torch.tensor([0.0, -1 / config.rank_decay]), 0)
        losses.append((p * (p.log() - (scores[row, candidates] - scores[row, left].logsumexp(0)))).sum())
    torch.testing.assert_close(parts["soft"], torch.stack(losses).mean())
    again = ExampleObjective(model, config, FULL, top_k=2, mask_history=False, mask_soft=False)(batch)
    assert again["soft"] > parts["soft"]
    torch.testing.assert_close(again["hard"], parts["hard"])


SCHEDULED = {
    "lambda": 3.0,
    "temperature": 2.0,
    "lambda_schedule": [{"kind": "warmup", "share": 0.5}],
    "temperature_schedule": [{"kind": "cosine", "end": 3.0}],
}


@pytest.mark.parametrize("targets", ["rank", "score"])
@pytest.mark.parametrize("candidates", ["candidates", "catalogue"])
def test_a_scheduled_step_is_that_of_its_plain_values(targets: str, candidates: str) -> None:
    """Halfway through its warm-up lambda is 1.5; there half a cosine has moved the temperature by 15%."""
    model, batch = zoo.ZOO["bag"](), rows()
    temperature = 2 + 4 * 0.5 * (1 - 0.5**0.5)
    common = {"targets": targets, "candidates": candidates, "losses": [{"kind": "rce"}]}
    scheduled = ExampleObjective(model, distill(**SCHEDULED, **common), FULL, 2)
    plain = ExampleObjective(model, distill(**common, temperature=temperature, **{"lambda": 1.5}), FULL, 2)
    scheduled.progress = 0.25
    found, expected = [], []
    for parts, objective in ((found, scheduled), (expected, plain)):
        torch.manual_seed(0)
        parts.append(objective(batch))
    torch.testing.assert_close(found, expected)
    assert scheduled.scheduled() == pytest.approx({"lambda": 1.5, "temperature": temperature})
    assert plain.scheduled() == {}


def _row(batch: ExampleBatch, row: int) -> ExampleBatch:
    return dataclasses.replace(
        batch,
        users=batch.users.take(slice(row, row + 1)),
        targets=batch.targets[row : row + 1],
        candidates=batch.candidates[row : row + 1],  # type: ignore[index]
        logits=batch.logits[row : row + 1],  # type: ignore[index]
    )


@pytest.mark.parametrize("candidates", ["candidates", "catalogue"])
def test_agreement_weighs_the_rows_of_the_soft_part_alone(candidates: str) -> None:
    """Row 0's target is the teacher's first, row 1's its second, row 2's none of its items, row 3 has no labels."""
    model, batch = zoo.ZOO["bag"](), rows()
    batch = dataclasses.replace(batch, targets=torch.tensor([[1], [3], [5], [6]]))
    config = distill(candidates=candidates, **{"lambda": 3.0})
    weighed = config.model_copy(update={"lambda_schedule": [AgreementSchedule(least=0.5)]})
    alone = []
    for row in range(3):
        alone.append(ExampleObjective(model, config, FULL, 2)(_row(batch, row))["soft"])
    p = torch.tensor([0.0, -1 / config.rank_decay]).softmax(0).tolist()
    mean = (p[0] + p[1]) / 3
    weights = [0.5 + 0.5 * p[0] / mean, 0.5 + 0.5 * p[1] / mean, 0.5]
    parts = ExampleObjective(model, weighed, FULL, 2)(batch)
    torch.testing.assert_close(parts["soft"], sum(w * kl for w, kl in zip(weights, alone, strict=True)) / 3)
    torch.testing.assert_close(parts["hard"], ExampleObjective(model, config, FULL, 2)(batch)["hard"])


def test_feedback_moves_lambda_and_its_state_is_part_of_the_objectives() -> None:
    config = distill(**{"lambda": 2.0}, lambda_schedule=[{"kind": "feedback", "up": 1.5}])
    objective = ExampleObjective(zoo.ZOO["bag"](), config, FULL, 2)
    before = objective(rows())
    for metric in (0.1, 0.2):
        objective.hear(metric)
    after = objective(rows())
    torch.testing.assert_close(after["loss"] - before["loss"], before["soft"])
    assert objective.scheduled() == {"lambda": 3.0}
    assert objective.state_dict()["feedback.lambda.state"].tolist() == [1.5, 0.2]


@pytest.mark.parametrize("targets", ["rank", "score"])
@pytest.mark.parametrize("candidates", ["candidates", "catalogue"])
@pytest.mark.parametrize("negatives", [0, 5])
def test_agreement_gives_rows_temperatures_of_their_own(targets: str, candidates: str, negatives: int) -> None:
    """A row that the teacher gets right keeps T = 2, one that it misses has twice that, and four times the weight."""
    model, batch = zoo.ZOO["bag"](), rows()
    batch = dataclasses.replace(batch, targets=torch.tensor([[1], [8], [5], [6]]))
    common = {"targets": targets, "candidates": candidates, "losses": [{"kind": "rce"}]}
    common |= {"lambda": 1.0, "hard_weight": 0}
    training = TrainingConfig(negatives=negatives)
    schedule = {"temperature_schedule": [{"kind": "agreement", "most": 2.0}]}
    objective = ExampleObjective(model, distill(**common, **schedule, temperature=2.0), training, 2)
    torch.manual_seed(0)
    found = objective(batch)
    expected = {"soft": [], "rce": []}
    for row, temperature in ((0, 2.0), (1, 4.0), (2, 4.0)):
        part = _row(batch, row)
        alone = ExampleObjective(model, distill(**common, temperature=temperature), training, 2)
        torch.manual_seed(0)
        parts = alone(part)
        expected["soft"].append(parts["soft"] * (temperature / 2) ** 2)
        expected["rce"].append(parts["rce"])
    torch.testing.assert_close(found["soft"], sum(expected["soft"]) / 3)
    torch.testing.assert_close(found["loss"], 4 * found["soft"] + found["rce"])
    if not negatives:
        torch.testing.assert_close(found["rce"], sum(expected["rce"]) / 3)
    assert objective.scheduled() == {"temperature": 2.0}


def test_feedback_moves_the_temperature() -> None:
    schedules = {name: [{"kind": "feedback", "up": 1.5}] for name in ("lambda_schedule", "temperature_schedule")}
    config = distill(**{"lambda": 2.0}, temperature=2.0, **schedules)
    objective = ExampleObjective(zoo.ZOO["bag"](), config, FULL, 2)
    for metric in (0.1, 0.2):
        objective.hear(metric)
    assert objective.scheduled() == {"lambda": 3.0, "temperature": 3.0}
    plain = ExampleObjective(objective.model, distill(**{"lambda": 3.0}, temperature=3.0), FULL, 2)
    torch.testing.assert_close(objective(rows()), plain(rows()))
