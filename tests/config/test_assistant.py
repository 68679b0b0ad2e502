"""What an assistant may not be."""

from typing import Any

import pytest

from kdspark.config import parse_config
from kdspark.errors import ConfigError
from tests.config.test_load import minimal

RCE = {"losses": [{"kind": "rce", "refresh": 5}]}


@pytest.mark.parametrize(
    ("assistant", "distill", "message"),
    [
        ({"model": {"kind": "ease"}}, {}, "`assistant.model`"),
        ({"model": {"kind": "gru", "history_length": 500}}, {}, r"`assistant.model.history_length` 500 is longer"),
        ({"model": {"kind": "gru"}, "distill": {"lambda": 0.0}}, {}, "would learn nothing to pass on"),
        ({"model": {"kind": "gru"}}, {"lambda": 0.0}, "`assistant` would teach nobody"),
        ({"model": {"kind": "gru"}, "distill": {"losses": [{"kind": "de"}]}}, {}, r"`assistant.distill.losses`: de"),
        ({"model": {"kind": "gru", "training": {"epochs": 5}}}, RCE, r"`assistant.model.training.epochs`"),
        ({"model": {"kind": "gru", "training": {"epochs": 5}}, "distill": {}}, RCE, None),
        ({"model": {"kind": "gru"}, "distill": {}}, {"losses": [{"kind": "de"}]}, None),
    ],
)
def test_mistakes_are_named(assistant: dict[str, Any], distill: dict[str, Any], message: str | None) -> None:
    values = {**minimal(), "assistant": assistant, "distill": distill}
    if message is None:
        assert parse_config(values).assistant is not None
        return
    with pytest.raises(ConfigError, match=message):
        parse_config(values)
