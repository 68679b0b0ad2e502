"""Between the values of the search file and those that a sampler knows: numbers of a range, texts of a choice."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from kdspark.config.search import ChoicesConfig, FieldConfig, SearchConfig

Point = dict[str, Any]
_DIGITS = 6


def encode(field: FieldConfig, value: Any) -> Any:
    """A value as the sampler knows it: a choice is its JSON text, since samplers tell neither 1 from true nor take
    lists or sections."""
    return text_of(value) if isinstance(field, ChoicesConfig) else value


def decode(field: FieldConfig, value: Any) -> Any:
    """The value that the configuration gets. Real numbers have six digits, which is what a table or a file shows."""
    if isinstance(field, ChoicesConfig):
        return json.loads(value)
    if field.whole:
        return int(value)
    return min(max(float(f"{value:.{_DIGITS}g}"), float(field.low)), float(field.high))


def decode_all(search: SearchConfig, point: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value, in the order of the search file, in which the keys are set."""
    return {key: decode(field, point[key]) for key, field in search.fields.items()}


def text_of(choice: Any) -> str:
    """A choice's JSON text."""
    return json.dumps(choice, sort_keys=True, ensure_ascii=False)


def grid_points(search: SearchConfig) -> list[Point]:
    """Every combination of the fields' values, as the sampler knows them, shuffled by the search's seed.

    In their own order the first few of many trials would all lie in one corner.
    """
    values = {key: [encode(field, value) for value in field.grid or []] for key, field in search.fields.items()}
    points = [dict(zip(values, combination, strict=True)) for combination in product(*values.values())]
    order = np.random.default_rng(search.seed).permutation(len(points))
    return [points[index] for index in order]
