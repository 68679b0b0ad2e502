"""YAML file plus dotted overrides -> Config, with one clear error that names the key."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kdspark.config.config import Config
from kdspark.errors import ConfigError

_KEYS = "Correct the key; kdspark/config documents each, and conf/ml100k.yaml is an example."


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and check a configuration file.

    Args:
        path: a YAML file.
        overrides: `dotted.key=value` strings; the value is YAML, so `a.b=[1, 2]` and `a.b=null` work. A number in the
            key names an element of a list: `teacher.members.1.l2=100`, `distill.losses.0.weight=0.5`.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, or does not fit the schema.
    """
    return parse_config(read_yaml(path), overrides, source=str(path))


def read_yaml(path: str | Path, option: str = "--config") -> Any:
    """What a YAML file holds, as yet unchecked.

    Args:
        option: the option that named it, for the message.

    Raises:
        ConfigError: the file cannot be read, or is no YAML.
    """
    path = Path(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration ({error.strerror}).", f"Check {option}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = str(getattr(error, "problem_mark", "")).strip() or path
        raise ConfigError(f"{path}: not valid YAML ({where}).", "Correct the file.") from error


def parse_config(raw: Any, overrides: Sequence[str] = (), source: str = "configuration") -> Config:
    """Check an already parsed mapping. Raises ConfigError as `load_config` does."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{source}: expected a mapping of keys.", "See conf/ml100k.yaml for an example.")
    apply_overrides(raw, overrides)
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{source}: {describe_error(error)}.", _KEYS) from None


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> None:
    """Put `dotted.key=value` strings into a mapping, in place. Raises ConfigError where they do not fit."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {override!r} is not of the form dotted.key=value.", "Example: --set scoring.k=50")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override!r}: the value is not valid YAML.", "Quote it.") from error
        set_key(raw, key.strip(), value)


def set_key(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key of a mapping, in place; sections that are not there are made, list elements are not.

    Raises:
        ConfigError: the key goes through a plain value, or names a list element that does not exist.
    """
    *parents, leaf = key.split(".")
    node: Any = raw
    for parent in parents:
        node = _child(node, parent, key)
    if isinstance(node, list):
        _child(node, leaf, key)
        node[int(leaf)] = value
    else:
        node[leaf] = value


def _child(node: Any, part: str, key: str) -> Any:
    if isinstance(node, dict):
        if node.get(part) is None:
            node[part] = {}
        child = node[part]
    elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
        child = node[int(part)]
    else:
        raise ConfigError(f"--set {key}: {part!r} does not exist.", "Name an existing section or list index.")
    if not isinstance(child, dict | list) and not isinstance(node, list):
        raise ConfigError(f"--set {key}: {part!r} is a plain value, not a section.", "Shorten the key.")
    return child


def describe_error(error: ValidationError) -> str:
    """The first problems of a schema error, each with the dotted key it is about."""
    problems = []
    for item in error.errors()[:3]:
        where = ".".join(str(part) for part in item["loc"]) or "top level"
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        problems.append(f"`{where}`: {message}")
    more = error.error_count() - len(problems)
    return "; ".join(problems) + (f" (and {more} more)" if more else "")
