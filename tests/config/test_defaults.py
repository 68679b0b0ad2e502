"""What a configuration says by saying nothing: what held on all logs that were measured."""

from kdspark.config import BagConfig, DistillConfig, MFConfig, TrainingConfig, parse_config
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
