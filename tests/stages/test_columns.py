"""What changed in the columns of an input, in words; and which of it stops a night."""

import logging
from pathlib import Path
from typing import Any

import pytest

from kdspark.config import DataConfig
from kdspark.errors import InputError
from kdspark.stages.columns import check_columns, differences
from kdspark.workspace import write_json

BEFORE = {"u": "string", "i": "bigint", "t": "bigint", "extra": "double"}
USED = {"u": "data.columns.user", "i": "data.columns.item", "t": "data.columns.timestamp"}
DATA = DataConfig.model_validate(
    {"interactions": {"paths": "log"}, "columns": {"user": "u", "item": "i", "timestamp": "t"}}
)
OLD = {"path": "a", "bytes": 3, "modified_ms": 1}
NEW = {"path": "b", "bytes": 3, "modified_ms": 2}


def test_differences_by_what_they_mean() -> None:
    now = {"i": "string", "t": "bigint", "extra": "string", "more": "int"}
    assert differences(BEFORE, now, USED) == {
        "lost": ["'u' (`data.columns.user`) was string and is gone"],
        "retyped": ["'i' (`data.columns.item`) was bigint and is string"],
        "other": ["'extra' was double and is string"],
        "new": ["'more' int is new"],
    }
    assert not any(differences(BEFORE, BEFORE, USED).values())


def test_guessed_types_of_numbers_are_one() -> None:
    now = {**BEFORE, "i": "double"}
    assert differences(BEFORE, now, USED)["retyped"]
    assert not any(differences(BEFORE, now, USED, inferred=True).values())


class Nights:
    """Last night's manifest, and what reading tonight's new files would find."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.read = folder, []  # type: ignore[var-annotated]
        write_json(
            folder / "manifest.json",
            {"facts": {"schemas": {"interactions": BEFORE}, "files": {"interactions": [OLD]}}},
        )

    def check(self, now: dict[str, str], files: list[dict[str, Any]], accept: bool = False) -> Any:
        def reading(_: Any, found: list[Any]) -> dict[str, str]:
            self.read.append([file.path for file in found])
            return now

        return check_columns(DATA, self.folder, {"interactions": files}, reading, accept)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_only_new_files_are_looked_at(nights: Nights) -> None:
    assert nights.check({}, [OLD]).columns == {"interactions": BEFORE}
    assert nights.check({}, [OLD, {**NEW, "bytes": 0}]).columns == {"interactions": BEFORE}
    assert nights.read == []
    nights.check(BEFORE, [OLD, NEW])
    nights.check(BEFORE, [{**OLD, "modified_ms": 5}])  # written anew
    assert nights.read == [["b"], ["a"]]


def test_a_type_can_be_accepted_and_a_missing_column_cannot(nights: Nights) -> None:
    retyped = {**BEFORE, "u": "bigint"}
    with pytest.raises(InputError, match="--accept-schema"):
        nights.check(retyped, [NEW])
    seen = nights.check(retyped, [NEW], accept=True)
    assert seen.columns == {"interactions": retyped}
    assert seen.accepted == ["log: 'u' (`data.columns.user`) was string and is bigint"]
    with pytest.raises(InputError, match=r"'u' .* is gone; 'w' string is new\. Correct the export"):
        nights.check({**{name: BEFORE[name] for name in ("i", "t", "extra")}, "w": "string"}, [NEW], accept=True)


def test_what_nobody_uses_is_a_warning(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "kdspark"):
        nights.check({"u": "string", "i": "bigint", "t": "bigint", "more": "int"}, [NEW])
    assert "'extra' was double and is gone; 'more' int is new" in caplog.text


def test_a_first_night_and_a_lost_manifest_compare_nothing(nights: Nights) -> None:
    assert check_columns(DATA, None, {"interactions": [NEW]}, lambda *_: {}, False).columns == {}
    (nights.folder / "manifest.json").unlink()
    assert nights.check({}, [NEW]).columns == {}
