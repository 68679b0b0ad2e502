"""A warm start: how short it is, and where it would do harm."""

import pytest

from kdspark.config import TrainingConfig, WarmStartConfig, parse_config
from kdspark.errors import ConfigError
from tests.config.test_load import minimal


@pytest.mark.parametrize(
    ("share", "epochs", "expected"), [(1 / 3, 9, 3), (1 / 3, 20, 6), (1 / 3, 3, 1), (0.5, 7, 3), (1, 4, 4), (0.1, 3, 0)]
)
def test_epochs_are_rounded_down(share: float, epochs: int, expected: int) -> None:
    assert WarmStartConfig(share=share).epochs(TrainingConfig(epochs=epochs)) == expected


def test_a_shortened_training_differs_in_epochs_and_rates_alone() -> None:
    training = TrainingConfig(epochs=12, learning_rate=0.2, user_learning_rate=0.8, batch_size=64)
    expected = TrainingConfig(epochs=4, learning_rate=0.1, user_learning_rate=0.4, batch_size=64)
    assert WarmStartConfig(rate=0.5).shortened(training) == expected
    assert WarmStartConfig().shortened(TrainingConfig(epochs=3)) == TrainingConfig(epochs=1)
    assert WarmStartConfig().shortened(TrainingConfig(epochs=1)) == TrainingConfig(epochs=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["warm_start={steps: 3}"], "`warm_start.steps`: unknown key"),
        (["warm_start={share: 0}"], "`warm_start.share`"),
        (["warm_start={rate: 2}"], "`warm_start.rate`"),
        (["warm_start={}", "student.training.epochs=2"], "0.333 of the 2 epochs of `student.training` is not even one"),
        (["warm_start={}", "data.split.n_test=2"], "would be test events tonight"),
    ],
)
def test_mistakes_are_named(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(), changes)
    assert message in str(caught.value)


def test_it_is_off_by_default() -> None:
    assert parse_config(minimal()).warm_start is None
