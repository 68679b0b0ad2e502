"""When a student moves on, and which configurations have no way to walk."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdspark.config import CurriculumConfig, parse_config
from kdspark.errors import ConfigError
from tests.config.test_load import minimal


@pytest.mark.parametrize(
    ("values", "states"),
    [
        ({}, [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        ({"share": 0.5}, [0, 0, 0, 1, 1, 2, 2, 2, 2]),  # 4.5 epochs of 9 before the final state: 2.25 each
        ({"snapshots": 1, "share": 1 / 3}, [0, 0, 0, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_states_by_hand(values: dict[str, Any], states: list[int]) -> None:
    curriculum = CurriculumConfig.model_validate(values)
    assert [curriculum.state_at(epoch, 9) for epoch in range(9)] == states
    assert curriculum.final_from(9) == states.index(curriculum.snapshots)


@given(st.integers(1, 6), st.integers(1, 40))
def test_equal_shares_never_go_back_and_differ_by_an_epoch_at_most(snapshots: int, epochs: int) -> None:
    curriculum = CurriculumConfig(snapshots=snapshots, share=None)
    states = [curriculum.state_at(epoch, epochs) for epoch in range(epochs)]
    assert states == sorted(states)
    lengths = [states.count(state) for state in range(snapshots + 1)]
    assert max(lengths) - min(lengths) <= 1
    assert curriculum.fits(epochs) == (epochs > snapshots)


GRU = {"kind": "gru", "training": {"epochs": 3}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": {"kind": "ease"}}, "`distill.curriculum` reads earlier states of the teacher, and ease has only"),
        ({"teacher": {**GRU, "training": {"epochs": 2}}}, "wants 2 states .* it trains for 2 epochs"),
        ({"student": {**GRU, "training": {"epochs": 2}}}, "2 epochs of `student` cannot give each of 2 earlier states"),
        ({"student": {**GRU, "training": {"epochs": 6}}, "warm_start": {}}, "2 epochs of `student` cannot"),
        ({"distill": {"curriculum": {}, "losses": [{"kind": "de"}]}}, "de of `losses` would read the final"),
        ({"distill": {"curriculum": {}, "lambda": 0.0}}, "`curriculum` would do nothing"),
        ({"assistant": {"model": {"kind": "gru", "training": {"epochs": 2}}}}, "2 epochs of `assistant.model` cannot"),
        (
            {"teacher": {"kind": "transfer", "path": "there", "training": {"epochs": 2}}},
            "wants 2 states .* it trains for 2 epochs",
        ),
        ({"teacher": {"kind": "transfer", "path": "there"}}, "transfer has only one"),
        ({"teacher": {"kind": "ease"}, "assistant": {"model": GRU, "distill": {}}}, None),  # the assistant's states
        ({"teacher": {"kind": "ensemble", "members": [{"kind": "ease"}, {"kind": "lightgcn"}]}}, None),
    ],
)
def test_who_has_no_way_to_walk(changes: dict[str, Any], message: str | None) -> None:
    values = {**minimal(), "distill": {"curriculum": {}}, **changes}
    if message is None:
        assert parse_config(values).distill.snapshots == 2
        return
    with pytest.raises(ConfigError, match=message):
        parse_config(values)
