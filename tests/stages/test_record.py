"""What a report says of how the night came about."""

import pytest

from kdspark.stages.record import _started
from kdspark.workspace import Manifest


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (None, {}),
        ({}, {}),
        (
            {"warm_start": "2024-01-01/run", "cold_start": None},
            {"student_started_from": "the student of 2024-01-01/run"},
        ),
        (
            {"warm_start": None, "cold_start": "no earlier night is published here"},
            {"student_started_from": "fresh weights: no earlier night is published here"},
        ),
    ],
)
def test_the_report_says_where_the_student_started(facts: dict[str, str | None] | None, said: dict[str, str]) -> None:
    manifest = None if facts is None else Manifest("train_student", "key", {}, {}, facts=facts)
    assert _started(manifest) == said
