"""What a configuration says by saying nothing: what held on all logs that were measured."""

from kdspark.config import (
    BagConfig,
    CNNConfig,
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


def test_sequences_make_small_steps_at_high_rates_and_recurrent_ones_the_highest() -> None:
    base, attention, recurrent = TrainingConfig(), TransformerConfig().training, GRUConfig().training
    assert attention.batch_size == recurrent.batch_size < base.batch_size
    assert base.learning_rate < attention.learning_rate == CNNConfig().training.learning_rate < recurrent.learning_rate
    assert LSTMConfig().training == recurrent
