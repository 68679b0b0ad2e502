"""The training loop: it learns, stops, resumes to the bit, and refuses what is not finite."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from kdspark.config import DistillConfig, TrainableConfig, TrainingConfig
from kdspark.distill.batches import ExampleBatch
from kdspark.distill.checkpoint import load_checkpoint, save_checkpoint
from kdspark.distill.objectives import ExampleObjective
from kdspark.distill.sequences import SequenceObjective
from kdspark.distill.trainer import Trainer
from kdspark.errors import TrainingError
from kdspark.models.batch import FeatureSizes, UserBatch
from kdspark.models.build import build_model
from kdspark.models.recommender import Recommender
from tests.models import zoo

ROWS = 24
HARD = DistillConfig.model_validate({"lambda": 0.0})


def data() -> ExampleBatch:
    """Row r: history (r, r + 1) -> target (r + 2), modulo the catalogue; learnable by any model."""
    start = torch.arange(ROWS)[:, None]
    history = (start + torch.arange(2)) % zoo.N_ITEMS
    empty = torch.zeros(ROWS, 0)
    users = UserBatch(torch.arange(ROWS), history, empty.long(), empty, empty)
    return ExampleBatch(users, (start + 2) % zoo.N_ITEMS)


def epochs(epoch: int) -> Iterator[ExampleBatch]:
    rows, generator = data(), torch.Generator().manual_seed(epoch)
    for part in torch.randperm(ROWS, generator=generator).split(8):
        yield ExampleBatch(rows.users.take(part), rows.targets[part])


def hit_rate(model: Recommender) -> float:
    items_ND = model.encode_items()
    best = (model.encode_users(data().users, items_ND) @ items_ND.T).argmax(1)
    return float((best == data().targets[:, 0]).float().mean())


def make(config: TrainableConfig, **options: object) -> Trainer:
    model = build_model(config, ROWS, zoo.N_ITEMS, zoo.items(), FeatureSizes(), seed=2)
    objective = ExampleObjective(model, HARD, config.training, mask_history=False)
    return Trainer(objective, epochs, 3, 8, config.training, seed=11, **options)  # type: ignore[arg-type]


def small(name: str, **training: object) -> TrainableConfig:
    base = {"epochs": 60, "learning_rate": 0.05, "warmup": 0.1, "patience": 60}
    config = zoo.TRAINABLE[name]
    return config.model_copy(
        update={
            "user_features": False,
            "dropout": 0.0,
            "dim": 16,
            "training": TrainingConfig.model_validate(base | training),
        }
    )


@pytest.mark.parametrize("name", ["mf", "bag", "two_tower", *zoo.CAUSAL])
def test_every_model_overfits_a_tiny_set(name: str) -> None:
    trainer = make(small(name, learning_rate=0.02), validate=hit_rate)
    result = trainer.fit()
    assert result.best_metric == 1.0
    assert hit_rate(trainer.objective.model) == 1.0
    assert result.curve[-1]["loss"] < 0.2 * result.curve[0]["loss"]
    assert [row["epoch"] for row in result.curve] == list(range(1, len(result.curve) + 1))


def test_sequences_overfit_through_all_positions() -> None:
    config = small("gru", epochs=80, learning_rate=0.02)
    model = build_model(config, ROWS, zoo.N_ITEMS, zoo.items(), FeatureSizes(), seed=2)
    rows = data()
    history = torch.cat([rows.users.history, rows.targets], dim=1)
    users = UserBatch(rows.users.user_idx, history, rows.users.codes, rows.users.numbers, rows.users.vector)
    objective = SequenceObjective(model, config.training, window=6, mask_history=False)
    trainer = Trainer(objective, lambda _: [ExampleBatch(users, rows.targets)], 1, ROWS, config.training, 1, hit_rate)
    assert trainer.fit().best_metric == 1.0


def test_distilling_pulls_the_student_to_the_teachers_order() -> None:
    config = small("bag", epochs=80)
    model = build_model(config, ROWS, zoo.N_ITEMS, zoo.items(), FeatureSizes(), seed=2)
    rows = data()
    # The teacher prefers the item five after the target, against the hard label.
    candidates = (rows.targets + torch.tensor([5, 9])) % zoo.N_ITEMS
    batch = ExampleBatch(rows.users, rows.targets, candidates, torch.zeros(ROWS, 2))
    soft = DistillConfig.model_validate(
        {"lambda": 1.0, "hard_weight": 0.0, "candidates": "catalogue", "rank_decay": 1.0}
    )
    trainer = Trainer(
        ExampleObjective(model, soft, config.training, 2, False, False), lambda _: [batch], 1, ROWS, config.training, 1
    )
    curve = trainer.fit().curve
    items_ND = model.encode_items()
    scores = model.encode_users(rows.users, items_ND) @ items_ND.T
    assert float((scores.argmax(1) == candidates[:, 0]).float().mean()) > 0.9
    assert 0 <= curve[-1]["soft"] < 0.2 * curve[0]["soft"]


def _dropout_config(**training: object) -> TrainableConfig:
    return small("transformer", epochs=6, **training).model_copy(update={"dropout": 0.3})


class _KilledError(Exception):
    pass


def test_resumed_training_equals_uninterrupted_to_the_bit(tmp_path: Path) -> None:
    whole = make(_dropout_config(), validate=hit_rate)
    expected = whole.fit()

    def killed(epoch: int) -> Iterator[ExampleBatch]:
        if epoch == 4:
            raise _KilledError
        return epochs(epoch)

    first = make(_dropout_config(), validate=hit_rate, folder=tmp_path)
    first.epochs = killed
    with pytest.raises(_KilledError):
        first.fit()
    second = make(_dropout_config(), validate=hit_rate, folder=tmp_path)
    found = second.fit()
    ran = [{k: v for k, v in row.items() if k != "seconds"} for row in found.curve]
    assert ran == [{k: v for k, v in row.items() if k != "seconds"} for row in expected.curve]
    for name, tensor in whole.objective.model.state_dict().items():
        assert torch.equal(second.objective.model.state_dict()[name], tensor)


KINDS = ("rd", "cd", "rrd", "unkd", "rce", "de", "topology")


def _distilled(kinds: Sequence[str] = KINDS, **options: object) -> Trainer:
    """Losses with experts, groups and draws, of a random teacher."""
    config = small("bag", epochs=6)
    model = build_model(config, ROWS, zoo.N_ITEMS, zoo.items(), FeatureSizes(), seed=2)
    generator = torch.Generator().manual_seed(9)
    teacher, users = (torch.randn(rows, 12, generator=generator) for rows in (zoo.N_ITEMS, ROWS))
    rows = data()
    candidates = (rows.targets + torch.arange(1, 9)) % zoo.N_ITEMS
    logits = torch.arange(8, 0, -1).float().expand(ROWS, 8)
    distill = DistillConfig.model_validate({"lambda": 0.0, "losses": [{"kind": kind, "weight": 0.1} for kind in kinds]})

    def labelled(epoch: int) -> Iterator[ExampleBatch]:
        for part in torch.randperm(ROWS, generator=torch.Generator().manual_seed(epoch)).split(8):
            yield ExampleBatch(rows.users.take(part), rows.targets[part], candidates[part], logits[part], users[part])

    objective = ExampleObjective(model, distill, config.training, 4, teacher_items_NE=teacher, seed=2)
    return Trainer(objective, labelled, 3, 8, config.training, seed=11, **options)  # type: ignore[arg-type]


def test_losses_with_weights_of_their_own_resume_to_the_bit(tmp_path: Path) -> None:
    whole, killed, resumed = (
        _distilled(validate=hit_rate),
        *(_distilled(validate=hit_rate, folder=tmp_path) for _ in "ab"),
    )
    expected = whole.fit()
    labelled = killed.epochs

    def until_killed(epoch: int) -> Iterator[ExampleBatch]:
        if epoch == 3:
            raise _KilledError
        yield from labelled(epoch)

    killed.epochs = until_killed
    with pytest.raises(_KilledError):
        killed.fit()
    found = resumed.fit()
    ran, due = ([{k: v for k, v in row.items() if k != "seconds"} for row in run.curve] for run in (found, expected))
    assert ran == due
    assert set(due[0]) >= {"hard", *KINDS}
    assert "soft" not in due[0]
    state = resumed.objective.state_dict()
    for name, tensor in whole.objective.state_dict().items():
        assert torch.equal(state[name], tensor), name
    start = _distilled().objective.state_dict()
    assert all(not torch.equal(start[name], state[name]) for name in start if name.endswith("into_GDH"))
    assert due[-1]["de"] < due[0]["de"]


def _keeping(killed_in: int | None = None, **options: object) -> tuple[Trainer, list[int]]:
    """A student that finds its own top items every two epochs, and the epochs it did so in."""
    trainer, found, now = _distilled(("rd",), **options), list[int](), [0]
    losses = [
        {"kind": "rce", "weight": 0.1, "top": 4, "reach": 6, "samples": 6, "refresh": 2},
        {"kind": "cd", "guide": "student", "reach": 5, "samples": 3, "refresh": 2},
    ]
    distill = DistillConfig.model_validate({"lambda": 0.0, "losses": losses})
    model, config, labelled = trainer.objective.model, trainer.config, trainer.epochs
    teacher = torch.randn(zoo.N_ITEMS, 12, generator=torch.Generator().manual_seed(8))

    class Watched(ExampleObjective):
        def find_own_top(self, batches: Iterable[ExampleBatch], rows: int) -> None:
            super().find_own_top(batches, rows)
            found.append(now[0])

    def keyed(epoch: int) -> Iterator[ExampleBatch]:
        if epoch == killed_in:
            raise _KilledError
        now[0] = epoch
        for batch in labelled(epoch):
            yield dataclasses.replace(batch, keys=batch.users.user_idx + 5)

    trainer.objective = Watched(model, distill, config, 4, teacher_items_NE=teacher, seed=2)
    trainer.epochs = keyed
    return trainer, found


def test_the_students_own_top_is_found_when_due_and_again_on_resuming(tmp_path: Path) -> None:
    (whole, found), (killed, _), (resumed, again) = _keeping(), _keeping(3, folder=tmp_path), _keeping(folder=tmp_path)
    expected = whole.fit()
    assert found == [0, 2, 4]
    with pytest.raises(_KilledError):
        killed.fit()
    assert [path.name for path in sorted(tmp_path.glob("*.json"))] == ["step-000000002.json"]
    ran = resumed.fit()
    assert again == [2, 4]
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.curve] for run in (ran, expected)]
    assert rows[0] == rows[1]


LISTENING = {"lambda": 1.0, "lambda_schedule": [{"kind": "cosine"}, {"kind": "feedback", "up": 1.5, "down": 0.5}]}
HEARD = [0.1, 0.3, 0.2, 0.4, 0.4, 0.1]


def _listening(metrics: Sequence[float] = (), **options: object) -> Trainer:
    """A distilled training whose lambda goes by these validations."""
    left = iter(metrics)
    trainer = _distilled(("cd",), validate=(lambda _: next(left)) if metrics else None, **options)
    objective = trainer.objective
    assert isinstance(objective, ExampleObjective)
    distill = DistillConfig.model_validate(LISTENING)
    trainer.objective = ExampleObjective(objective.model, distill, trainer.config, 4, seed=2)
    return trainer


def test_feedback_resumes_to_the_bit_and_the_curve_tells_lambda(tmp_path: Path) -> None:
    whole = _listening(HEARD)
    expected = whole.fit()
    _listening(HEARD, folder=tmp_path, stop_after=3).fit()
    resumed = _listening(HEARD[3:], folder=tmp_path)
    found = resumed.fit()
    ran, due = ([{k: v for k, v in row.items() if k != "seconds"} for row in run.curve] for run in (found, expected))
    assert ran == due
    factors = [1, 1, 1.5, 0.75, 1.125, 1.125]
    last_steps = [0.5 * (1 + math.cos(math.pi * (3 * epoch + 2) / 18)) for epoch in range(6)]
    assert [row["lambda"] for row in due] == pytest.approx([f * c for f, c in zip(factors, last_steps, strict=True)])
    for name, tensor in whole.objective.state_dict().items():
        assert torch.equal(resumed.objective.state_dict()[name], tensor), name


def test_a_refit_goes_by_the_validations_of_the_training_before() -> None:
    watched = _listening(HEARD).fit()
    refit = _listening(heard={row["epoch"]: row["valid"] for row in watched.curve}).fit()
    assert [row["lambda"] for row in refit.curve] == [row["lambda"] for row in watched.curve]
    assert [row["loss"] for row in refit.curve] == [row["loss"] for row in watched.curve]
    unheard = _listening().fit()
    assert [row["lambda"] for row in unheard.curve] != [row["lambda"] for row in watched.curve]


def test_progress_is_the_share_of_the_steps_done() -> None:
    seen: list[float] = []
    trainer = _distilled()
    trainer.objective.register_forward_pre_hook(lambda module, _: seen.append(module.progress))
    trainer.fit()
    assert seen == pytest.approx([step / 18 for step in range(18)])


@pytest.mark.parametrize("others", [KINDS[:-1], ("cd",)])
def test_a_checkpoint_of_other_losses_is_not_used(tmp_path: Path, others: tuple[str, ...]) -> None:
    _distilled(KINDS if len(others) > 1 else ("rd",), folder=tmp_path, stop_after=1).fit()
    curve = _distilled(others, folder=tmp_path, stop_after=2).fit().curve
    assert set(curve[0]) - {"epoch", "loss", "hard", "learning_rate", "seconds"} == set(others)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"w": torch.full((2,), float(step))}, {"n": step})
    assert len(list(tmp_path.iterdir())) == 4  # two checkpoints of two files
    newest = tmp_path / "step-000000003.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[1] == {"n": 2}
    assert found[0]["w"].tolist() == [2.0, 2.0]
    assert load_checkpoint(tmp_path / "nothing") is None


def test_another_configurations_checkpoint_is_not_used(tmp_path: Path) -> None:
    make(_dropout_config(), folder=tmp_path).fit()
    other = make(_dropout_config(learning_rate=0.01), folder=tmp_path).fit()
    assert len(other.curve) == 6
    assert other.curve[0]["learning_rate"] < 0.02


def test_early_stopping_keeps_the_best() -> None:
    metrics = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])
    seen: list[dict[str, torch.Tensor]] = []

    def validate(model: Recommender) -> float:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return next(metrics)

    trainer = make(small("mf", epochs=10, patience=3), validate=validate)
    result = trainer.fit()
    assert (result.best_epoch, result.best_metric, len(result.curve)) == (2, 0.5, 5)
    for name, tensor in trainer.objective.model.state_dict().items():
        assert torch.equal(tensor, seen[1][name])


def test_validates_every_so_many_epochs_and_after_the_last() -> None:
    trainer = make(small("bag", epochs=7, eval_every=3), validate=hit_rate)
    assert [row["epoch"] for row in trainer.fit().curve if "valid" in row] == [3, 6, 7]


def test_the_last_weights_are_kept_if_asked() -> None:
    metrics = iter([0.5, 0.4, 0.3, 0.2])
    trainer = make(small("mf", epochs=4, patience=1, keep="last"), validate=lambda model: next(metrics))
    result = trainer.fit()
    assert (result.best_epoch, result.best_metric) == (4, 0.2)
    assert [row["valid"] for row in result.curve] == [0.5, 0.4, 0.3, 0.2]
    unwatched = make(small("mf", epochs=4))
    unwatched.fit()
    for name, tensor in trainer.objective.model.state_dict().items():
        assert torch.equal(tensor, unwatched.objective.model.state_dict()[name])


def test_stop_after_follows_the_schedule_of_the_full_run() -> None:
    whole = make(small("mf", epochs=6)).fit()
    part = make(small("mf", epochs=6), stop_after=2).fit()
    assert [row["loss"] for row in part.curve] == [row["loss"] for row in whole.curve[:2]]
    assert part.best_epoch == 2


def test_stops_at_the_first_non_finite_loss() -> None:
    trainer = make(small("mf"))
    with torch.no_grad():
        next(trainer.objective.model.parameters())[5] = float("nan")
    with pytest.raises(TrainingError, match="epoch 1, step"):
        trainer.fit()


@pytest.mark.parametrize("steps", [2, 4])
def test_lost_or_surplus_batches_are_noticed(steps: int) -> None:
    trainer = make(small("mf"))
    trainer.steps_per_epoch = steps
    with pytest.raises(TrainingError, match="batches"):
        trainer.fit()


def test_bf16_trains() -> None:
    result = make(small("gru", epochs=10, precision="bf16")).fit()
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make(small("mf", epochs=1)).fit()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("patience_from", "epochs_done"), [(0, 3), (4, 6), (20, 8)])
def test_patience_counts_from_where_it_is_told(patience_from: int, epochs_done: int) -> None:
    """The metric is best after the first epoch; two evaluations without a better one end the training."""
    found = iter([1.0, *[0.0] * 20])
    config = small("bag", epochs=8, patience=2)
    done: list[int] = []
    trainer = make(config, validate=lambda model: next(found), patience_from=patience_from, after_epoch=done.append)
    result = trainer.fit()
    assert (result.best_epoch, len(result.curve)) == (1, epochs_done)
    assert done == list(range(1, epochs_done + 1))
