"""The search file: which configuration keys are searched, over which values, and what is trained and measured."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StrictFloat,
    StrictInt,
    Tag,
    ValidationError,
    model_validator,
)

from kdspark.config.base import Strict
from kdspark.config.load import describe_error, read_yaml
from kdspark.errors import ConfigError

Target = Literal["student", "student_plain", "teacher"]

# What a target's validation metric depends on. Not what the validation events themselves depend on, such as the split
# and the filters: values that were measured on other events cannot be compared.
_INPUTS = ("data.features", "data.examples")
_STUDENT = ("student", "student_copies", "student_storage", "warm_start")
_SECTIONS: dict[Target, tuple[str, ...]] = {
    "student": (*_INPUTS, "teacher", "assistant", *_STUDENT, "soft_labels", "distill"),
    "student_plain": (*_INPUTS, *_STUDENT, "student_plain"),
    "teacher": (*_INPUTS, "teacher"),
}


def _number(value: object) -> object:
    """1e-3, which YAML reads as text, is a number here as it is elsewhere in the configuration."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[StrictInt | StrictFloat, BeforeValidator(_number)]


class RangeConfig(Strict):
    """Numbers from `low` to `high`, both included; whole numbers if `low`, `high` and `step` are written as such.

    Args:
        log: search the logarithm, for what matters by its order of magnitude.
        step: distance of the values, from `low` on; None for any value, or every whole number.
    """

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    @property
    def grid(self) -> list[int | float] | None:
        """All values, ascending; None if they are not countable."""
        step = self.step or (1 if self.whole else None)
        if step is None:
            return None
        return [self.low + index * step for index in range(round((self.high - self.low) / step) + 1)]

    @model_validator(mode="after")
    def _a_range(self) -> "RangeConfig":
        if self.low >= self.high:
            raise ValueError(f"`low` {self.low:g} is not below `high` {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError("`log` needs a `low` above 0")
        if self.step is None:
            return self
        if self.log:
            raise ValueError("`step` does not go with `log`; name the values as `choices`")
        steps = (self.high - self.low) / self.step if self.step > 0 else 0.5
        if not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise ValueError(f"`high` is not a whole number of steps of {self.step:g} above `low`")
        return self


class ChoicesConfig(Strict):
    """One of these values, whatever the key takes: numbers, names, lists, whole sections; null is a value too."""

    choices: Annotated[list[Any], Field(min_length=2)]

    @property
    def grid(self) -> list[Any]:
        """All values, in the order given."""
        return self.choices

    @model_validator(mode="after")
    def _distinct(self) -> "ChoicesConfig":
        if len({repr(choice) for choice in self.choices}) < len(self.choices):
            raise ValueError("`choices` holds one value twice")
        return self


def _kind_of_field(raw: object) -> str:
    return "choices" if isinstance(raw, ChoicesConfig) or (isinstance(raw, dict) and "choices" in raw) else "range"


FieldConfig = Annotated[
    Annotated[RangeConfig, Tag("range")] | Annotated[ChoicesConfig, Tag("choices")], Discriminator(_kind_of_field)
]


class SearchConfig(Strict):
    """A search over any keys that the target depends on, by its metric on the validation events.

    Args:
        fields: dotted key, as for --set, to its values. Keys are set in the order given, so a whole section comes
            before keys of it.
        target: what is trained and measured: "student", with all that its distillation needs; "student_plain", the
            same student without distillation; or "teacher".
        trials: how many sets of values are tried, in all; a search that has tried fewer goes on.
        repeats: trainings per trial, with seeds of their own, whose mean is the trial's value; a single one is noisy.
            The split, and whatever the target learns from, stay those of the configuration's seed.
        seed: of the sampler.
        sampler: "tpe" goes where good values were found (Bergstra et al., NeurIPS'11; the first ten trials are
            random); "random"; "grid": every combination, in a random order.
        keep: outputs kept per stage and search, those used last, so that trials which differ only further down the
            night can share a teacher or labels.
    """

    fields: Annotated[dict[str, FieldConfig], Field(min_length=1)]
    target: Target = "student"
    trials: int = Field(20, ge=1)
    repeats: int = Field(1, ge=1)
    seed: int = Field(42, ge=0, lt=2**31)
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    keep: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _keys_matter(self) -> "SearchConfig":
        sections = _SECTIONS[self.target]
        for key in self.fields:
            if not any(f"{key}.".startswith(f"{section}.") for section in sections):
                raise ValueError(
                    f"`{key}` does nothing for `target: {self.target}`, or changes the events that it is measured on; "
                    f"search keys of {', '.join(sections)}"
                )
        return self

    @model_validator(mode="after")
    def _sections_before_their_keys(self) -> "SearchConfig":
        keys = list(self.fields)
        for place, key in enumerate(keys):
            for earlier in keys[:place]:
                if earlier.startswith(f"{key}."):
                    raise ValueError(f"`{earlier}` would be overwritten by `{key}`, which comes after it; swap them")
        return self

    @model_validator(mode="after")
    def _grid_is_finite(self) -> "SearchConfig":
        endless = [key for key, field in self.fields.items() if field.grid is None]
        if self.sampler == "grid" and endless:
            raise ValueError(f"`{endless[0]}` has no finite grid; give it a `step` or `choices`, or another sampler")
        return self


def load_search(path: str | Path, trials: int | None = None) -> SearchConfig:
    """Read and check a search file.

    Args:
        path: a YAML file.
        trials: in place of the file's.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, or does not fit the schema.
    """
    raw = read_yaml(path, "--search")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping of keys.", "Start with `fields:`; see kdspark/config/search.py.")
    try:
        return SearchConfig.model_validate(raw if trials is None else {**raw, "trials": trials})
    except ValidationError as error:
        raise ConfigError(
            f"{path}: {describe_error(error)}.", "Correct the key; kdspark/config/search.py documents each."
        ) from None
