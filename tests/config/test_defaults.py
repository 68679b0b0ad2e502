"""What a configuration says by saying nothing: what held on all logs that were measured."""

import pytest

from kdspark.config import (
    BagConfig,
    CNNConfig,
    Config,
    DistillConfig,
    GRUConfig,
    LSTMConfig,
    MFConfig,
    TrainingConfig,
    TransformerConfig,
    parse_config,
)
from tests.config.test_load import minimal


def test_the_soft_part_is_the_teachers_first_ranks_against_the_catalogue() -> None:
    distill = DistillConfig.model_validate({})
    assert (distill.targets, distill.rank_decay, distill.candidates) == ("rank", 5.0, "catalogue")


def test_free_vectors_move_faster_than_other_weights_and_users_fastest() -> None:
    base, bag, free = TrainingConfig(), BagConfig().training, MFConfig().training
    assert free.user_learning_rate is not None
    assert base.learning_rate < bag.learning_rate < free.learning_rate < free.user_learning_rate
    assert free.keep == "last"


def test_a_given_training_changes_the_given_keys_alone() -> None:
    raw = minimal() | {"student": {"kind": "mf", "training": {"epochs": 7, "user_learning_rate": None}}}
    assert parse_config(raw).student.training == MFConfig().training.model_copy(
        update={"epochs": 7, "user_learning_rate": None}
    )


@pytest.mark.parametrize(
    ("training", "rows", "expected"),
    [
        (MFConfig().training, 31_013, 512),
        (MFConfig().training, 943, 58),
        (MFConfig().training, 100, 32),
        (BagConfig().training, 8_192, 512),
        (BagConfig().training, 8_191, 511),
        (TransformerConfig().training, 31_013, 128),
        (TransformerConfig().training, 943, 58),
        (TrainingConfig(batch_size=512), 943, 512),
        (TrainingConfig(batch_size=1), 943, 1),
    ],
)
def test_an_epoch_of_a_small_log_has_steps_enough_unless_a_batch_is_given(
    training: TrainingConfig, rows: int, expected: int
) -> None:
    assert training.rows_per_step(rows) == expected


def test_sequences_make_small_steps_at_high_rates_and_recurrent_ones_the_highest() -> None:
    base, attention, recurrent = TrainingConfig(), TransformerConfig().training, GRUConfig().training
    assert attention.largest_batch == recurrent.largest_batch < base.largest_batch
    assert base.learning_rate < attention.learning_rate == CNNConfig().training.learning_rate < recurrent.learning_rate
    assert LSTMConfig().training == recurrent


def free_vectors(**sections: object) -> Config:
    return parse_config(minimal() | {"student": {"kind": "mf"}} | sections)


def test_free_vectors_learn_from_the_inputs_that_are_scored_alone() -> None:
    config = free_vectors()
    assert (config.soft_labels.positions, config.soft_labels.scoring_inputs) == (False, 1)
    assert config.distill.hard_weight == 0
    assert free_vectors(soft_labels={"scoring_inputs": 3}).soft_labels.positions is False
    assert parse_config(config.model_dump(by_alias=True)) == config


@pytest.mark.parametrize(
    ("sections", "positions", "hard_weight"),
    [
        ({"distill": {"hard_weight": 1}}, True, 1),
        ({"distill": {"lambda": 0}}, True, 1),
        ({"distill": {"lambda": 0, "losses": [{"kind": "rd"}]}}, True, 1),
        ({"soft_labels": {"positions": True}}, True, 0),
        ({"soft_labels": {"scoring_inputs": 0}}, True, 0),
        ({"distill": {"lambda_schedule": [{"kind": "agreement"}]}}, True, 0),
        ({"distill": {"temperature_schedule": [{"kind": "agreement"}]}}, True, 0),
        ({"assistant": {"model": {"kind": "gru"}}}, True, 1),
        ({"assistant": {"model": {"kind": "mf"}, "distill": {}}}, True, 1),
        ({"student": {"kind": "bag"}}, True, 1),
    ],
)
def test_what_is_said_of_the_learning_goes_first(
    sections: dict[str, object], positions: bool, hard_weight: float
) -> None:
    config = free_vectors(**sections)
    assert (config.soft_labels.positions, config.distill.hard_weight) == (positions, hard_weight)


def test_an_assistant_of_free_vectors_learns_as_its_student_does() -> None:
    config = free_vectors(assistant={"model": {"kind": "mf", "dim": 48}})
    assert (config.soft_labels.positions, config.soft_labels.scoring_inputs) == (False, 1)
    assert config.first_distill.hard_weight == config.distill.hard_weight == 0


def test_free_vectors_of_sets_learn_whole_histories_without_hard_labels() -> None:
    data = minimal()["data"] | {"split": {"kind": "random"}, "examples": {"kind": "set"}}
    config = free_vectors(data=data, teacher={"kind": "ease"})
    assert (config.soft_labels.positions, config.soft_labels.scoring_inputs) == (True, 0)
    assert config.distill.hard_weight == 0


def test_the_twin_of_free_vectors_stops_before_it_overfits() -> None:
    config = free_vectors(student={"kind": "mf", "training": {"user_learning_rate": 0.2}})
    twin, student = config.twin.training, config.student.training
    assert twin.epochs < student.epochs
    assert twin.weight_decay > student.weight_decay
    assert twin.keep == "best"
    assert twin.user_learning_rate == student.user_learning_rate == 0.2
