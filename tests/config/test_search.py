"""The search file: what fits, what it stands for, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kdspark.config.load import load_config
from kdspark.config.search import ChoicesConfig, RangeConfig, SearchConfig, load_search
from kdspark.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


def fields(**values: dict[str, Any]) -> dict[str, Any]:
    return {"fields": {key.replace("__", "."): value for key, value in values.items()}}


def test_how_a_student_starts_is_searched_with_it(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text("fields: {warm_start.rate: {low: .1, high: 1.0}}")
    assert [*load_search(path).fields] == ["warm_start.rate"]


def test_ranges_and_choices(tmp_path: Path) -> None:
    text = """
    fields:
      distill.lambda: {low: .1, high: 10, log: true}
      student.dim: {choices: [8, 16]}
      student.training.epochs: {low: 5, high: 40, step: 5}
      student.training.learning_rate: {low: 1e-3, high: 1e-1}
    """
    search = load_search(write(tmp_path, text))
    ranges = list(search.fields.values())
    assert [type(field) for field in ranges] == [RangeConfig, ChoicesConfig, RangeConfig, RangeConfig]
    assert [field.whole for field in ranges if isinstance(field, RangeConfig)] == [False, True, False]
    assert [field.grid for field in ranges] == [None, [8, 16], [5, 10, 15, 20, 25, 30, 35, 40], None]
    assert ranges[3] == RangeConfig(low=0.001, high=0.1)  # text to YAML, without the dot
    assert (search.target, search.trials, search.repeats) == ("student", 20, 1)
    assert load_search(write(tmp_path, text), trials=3).trials == 3


def test_whole_numbers_are_a_grid_and_steps_may_be_fractions() -> None:
    assert RangeConfig(low=3, high=6).grid == [3, 4, 5, 6]
    assert RangeConfig(low=0.1, high=0.7, step=0.2).grid == pytest.approx([0.1, 0.3, 0.5, 0.7])
    assert RangeConfig(low=1, high=2, step=0.5).whole is False


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "`fields`: Field required"),
        ({"fields": {}}, "`fields`: Dictionary should have at least 1"),
        (fields(student__dim={"low": 1, "high": 4}) | {"trails": 3}, "`trails`: unknown key"),
        (fields(student__dim={"low": 1, "high": 4, "log": True, "steps": 2}), "steps`: unknown key"),
        (fields(student__dim={"choices": [1, 2], "low": 1}), "low`: unknown key"),
        (fields(student__dim={"choices": [1]}), "at least 2 items"),
        (fields(student__dim={"choices": [1, 2, 1]}), "holds one value twice"),
        (fields(student__dim=[1, 2]), "valid dictionary"),
        (fields(student__dim={"low": 4, "high": 4}), "`low` 4 is not below `high` 4"),
        (fields(student__dim={"low": "few", "high": 4}), "valid number"),
        (fields(student__dim={"low": True, "high": 4}), "valid number"),
        (fields(student__dim={"low": float("nan"), "high": 4}), "finite number"),
        (fields(student__dim={"low": 0, "high": 4, "log": True}), "`log` needs a `low` above 0"),
        (fields(student__dim={"low": 1, "high": 4, "log": True, "step": 1}), "`step` does not go with `log`"),
        (fields(student__dim={"low": 1, "high": 4, "step": 2}), "not a whole number of steps of 2"),
        (fields(student__dim={"low": 1, "high": 4, "step": -1}), "not a whole number of steps"),
        (fields(scoring__k={"low": 1, "high": 4}), "`scoring.k` does nothing for `target: student`"),
        (
            fields(warm_start__rate={"low": 0.1, "high": 1.0}) | {"target": "teacher"},
            "`warm_start.rate` does nothing for `target: teacher`",
        ),
        (fields(data__filters={"choices": [{}, None]}), "changes the events that it is measured on"),
        (fields(seed={"low": 1, "high": 4}), "`seed` does nothing"),
        (fields(students={"low": 1, "high": 4}), "`students` does nothing"),
        (fields(distill__lambda={"low": 1, "high": 4}) | {"target": "student_plain"}, "`target: student_plain`"),
        (fields(student__dim={"low": 1, "high": 4}) | {"target": "teacher"}, "search keys of data.features"),
        (fields(student__dim={"choices": [1, 2]}, student={"choices": [{}, None]}), "which comes after it; swap them"),
        (fields(distill__lambda={"low": 0.5, "high": 4}) | {"sampler": "grid"}, "no finite grid"),
    ],
)
def test_refused(raw: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"space\.yaml: .*") as error:
        load_search(write(tmp_path, yaml.safe_dump(raw, sort_keys=False)))
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["- 1\n", "fields: [", ""])
def test_what_is_no_mapping(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"space\.yaml"):
        load_search(write(tmp_path, text))
    with pytest.raises(ConfigError, match="--search"):
        load_search(tmp_path / "none.yaml")


def test_a_section_may_come_before_its_keys() -> None:
    search = SearchConfig.model_validate(
        fields(student={"choices": [{"kind": "bag"}, {"kind": "mf"}]}, student__dim={"choices": [8, 16]})
    )
    assert list(search.fields) == ["student", "student.dim"]


def test_the_example_fits_its_configuration() -> None:
    search = load_search(CONF / "ml100k-search.yaml")
    for key, field in search.fields.items():
        value = field.grid[0] if field.grid else field.low  # type: ignore[union-attr]
        load_config(CONF / "ml100k.yaml", [f"{key}={value}"])
