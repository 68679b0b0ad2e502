"""Schedules in the configuration: what they are, and that one with nothing to do is refused."""

import pytest

from kdspark.config import (
    AgreementSchedule,
    AgreementTemperature,
    CosineSchedule,
    DistillConfig,
    FeedbackSchedule,
    WarmupSchedule,
    parse_config,
)
from kdspark.errors import ConfigError
from tests.config.test_load import minimal


def test_kinds_and_defaults() -> None:
    kinds = "[{kind: warmup}, {kind: cosine}, {kind: agreement}, {kind: feedback}]"
    config = parse_config(minimal(), [f"distill.lambda_schedule={kinds}"]).distill
    assert config.lambda_schedule == [WarmupSchedule(), CosineSchedule(), AgreementSchedule(), FeedbackSchedule()]
    assert (config.agreement, config.feedback) == (AgreementSchedule(), FeedbackSchedule())
    assert DistillConfig.model_validate(config.model_dump(mode="json", by_alias=True)) == config


def test_without_schedules_there_are_none() -> None:
    config = parse_config(minimal()).distill
    assert config.lambda_schedule == config.temperature_schedule == []
    assert config.agreement is config.feedback is None
    assert config.by_targets == config.hears == []


def test_the_temperature_has_the_same_kinds() -> None:
    kinds = "[{kind: warmup, start: 2}, {kind: cosine, end: 0.5}, {kind: agreement}, {kind: feedback}]"
    config = parse_config(minimal(), [f"distill.temperature_schedule={kinds}"]).distill
    assert (config.agreement_temperature, config.feedback_temperature) == (AgreementTemperature(), FeedbackSchedule())
    assert (config.agreement, config.feedback) == (None, None)
    assert config.by_targets == config.hears == ["temperature_schedule"]
    assert DistillConfig.model_validate(config.model_dump(mode="json", by_alias=True)) == config


def test_digests_tell_schedules_apart() -> None:
    digests = {
        DistillConfig.model_validate(changes).digest()
        for changes in (
            {},
            {"lambda_schedule": [{"kind": "warmup"}]},
            {"lambda_schedule": [{"kind": "warmup", "share": 0.2}]},
            {"temperature_schedule": [{"kind": "warmup", "start": 2.0}]},
        )
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["lambda_schedule=[{kind: step}]"], "`distill.lambda_schedule.0`"),
        (["lambda_schedule=[{kind: warmup, share: 0}]"], "`distill.lambda_schedule.0.warmup.share`"),
        (["lambda_schedule=[{kind: warmup, end: 0}]"], "`distill.lambda_schedule.0.warmup.end`: unknown key"),
        (["lambda_schedule=[{kind: warmup, start: 1}]"], "would do nothing"),
        (["lambda_schedule=[{kind: cosine, end: 1}]"], "`start` and `end` are both 1"),
        (["lambda_schedule=[{kind: agreement, least: 1}]"], "`distill.lambda_schedule.0.agreement.least`"),
        (["lambda_schedule=[{kind: feedback, up: 0.9}]"], "`distill.lambda_schedule.0.feedback.up`"),
        (["lambda_schedule=[{kind: feedback, up: 1, down: 1}]"], "nothing would move"),
        (["lambda_schedule=[{kind: feedback, most: 1, least: 1}]"], "nothing would move"),
        (["lambda_schedule=[{kind: cosine}, {kind: cosine, end: 2}]"], "`lambda_schedule` holds one kind twice"),
        (["temperature_schedule=[{kind: agreement, least: 0.5}]"], "`distill.temperature_schedule.0.agreement.least`"),
        (["temperature_schedule=[{kind: agreement, most: 1}]"], "`distill.temperature_schedule.0.agreement.most`"),
        (
            ["temperature_schedule=[{kind: warmup}]"],
            "warmup reaches 0, and nothing can be divided by that; set its `start`",
        ),
        (["temperature_schedule=[{kind: cosine}]"], "set its `end`"),
        (["lambda=0", "lambda_schedule=[{kind: warmup}]"], "`lambda_schedule` would do nothing with `lambda: 0`"),
        (["lambda=0", "temperature_schedule=[{kind: cosine, end: 2}]"], "`temperature_schedule` would do nothing"),
    ],
)
def test_mistakes_are_named(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(), [f"distill.{change}" for change in changes])
    assert message in str(caught.value)


def test_the_temperature_of_a_loss_can_be_scheduled_without_lambda() -> None:
    changes = ["distill={lambda: 0, losses: [{kind: rce}], temperature_schedule: [{kind: cosine, end: 2}]}"]
    assert parse_config(minimal(), changes).distill.temperature_schedule == [CosineSchedule(end=2)]


def test_feedback_needs_validation_and_agreement_needs_targets_among_the_answers() -> None:
    split = "data.split={kind: provided, valid_fraction: 0, test: {paths: test.parquet}}"
    parse_config(minimal(), [split, "distill.lambda_schedule=[{kind: cosine}]"])
    for what in ("lambda", "temperature"):
        with pytest.raises(ConfigError, match=rf"{what}_schedule`: feedback .* leaves no events"):
            parse_config(minimal(), [split, f"distill.{what}_schedule=[{{kind: feedback}}]"])
        sets = ["data.examples.kind=set", "student={kind: mf}", f"distill.{what}_schedule=[{{kind: agreement}}]"]
        with pytest.raises(ConfigError, match=rf"{what}_schedule`: agreement compares the teacher"):
            parse_config(minimal(), sets)
        parse_config(minimal(), [*sets, "soft_labels.mask_history=false"])
