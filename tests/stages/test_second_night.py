"""A night after another: what is known keeps its numbers, what is new gets the next ones, the past is left alone."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.workspace import parse_date
from tests.stages.test_prepare import prepare

pytestmark = pytest.mark.slow
FIRST, SECOND = "2024-01-02", "2024-01-03"
COLOURS = {"p": "red", "q": "red", "r": "blue", "s": "blue"}


def write_day(folder: Path, date: str, events: dict[str, str], colours: dict[str, str]) -> dict[str, Any]:
    """A log of one user's items per entry, in order of time, and an item table; returns the section `data`."""
    folder.mkdir()
    start = int(pd.Timestamp(date, tz="UTC").timestamp())
    rows = [(user, item, start + place) for user, items in events.items() for place, item in enumerate(items)]
    pd.DataFrame(rows, columns=["u", "i", "t"]).to_csv(folder / "log.csv", index=False)
    pd.Series(colours, name="colour").rename_axis("i").to_csv(folder / "items.csv")
    return {
        "interactions": {"paths": str(folder / "log.csv"), "format": "csv"},
        "columns": {"user": "u", "item": "i", "timestamp": "t"},
        "items": {"paths": str(folder / "items.csv"), "format": "csv", "id": "i", "categorical": ["colour"]},
        "features": {"history_length": 4},
        "examples": {"history_length": 4},
    }


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def column(folder: Path, table: str, key: str | list[str], value: str) -> dict:
    return pd.read_parquet(folder / table).set_index(key)[value].to_dict()


class Nights:
    """The folders of both nights, and the first one's digests from before the second."""

    def __init__(self, spark: SparkSession, root: Path) -> None:
        events = {"mia": "pqrs", "noa": "qrsp", "zoe": "rspq"}
        runner = prepare(spark, root / "root", write_day(root / "1", FIRST, events, COLOURS), FIRST)
        self.first = runner.output("prepare")
        staged = root / "staged"
        staged.mkdir()
        facts = {"stages": {"prepare": self.first.name}}
        runner.night.publication.publish(parse_date(FIRST), "run", staged, facts)
        self.before = digests(self.first)
        # noa is gone, ann and bob are new, and so are the items a and t; q has another colour.
        events = {"ann": "apqr", "bob": "qrat", "mia": "rqpa", "zoe": "tpqr"}
        colours = {**COLOURS, "q": "green", "a": "violet", "t": "blue"}
        data = write_day(root / "2", SECOND, events, colours)
        self.second = prepare(spark, root / "root", data, SECOND).output("prepare")


@pytest.fixture(scope="module")
def nights(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    return Nights(spark, tmp_path_factory.mktemp("nights"))


@pytest.mark.parametrize(
    ("table", "idx", "name", "known", "new"),
    [
        ("user_ids", "user_idx", "user_id", {"mia", "noa", "zoe"}, {"ann", "bob"}),
        ("item_ids", "item_idx", "item_id", {"p", "q", "r", "s"}, {"a", "t"}),
    ],
)
def test_known_ids_keep_their_numbers_and_new_ones_follow(
    nights: Nights, table: str, idx: str, name: str, known: set[str], new: set[str]
) -> None:
    before, after = (column(folder, table, name, idx) for folder in (nights.first, nights.second))
    assert before.keys() == known
    assert sorted(before.values()) == list(range(len(known)))
    assert {key: after[key] for key in known} == before
    assert {after[key] for key in new} == {len(known), len(known) + 1}
    assert after.keys() == known | new


def test_known_codes_stay_and_new_categories_follow(nights: Nights) -> None:
    before, after = (
        column(folder, "item_codes", ["column", "value"], "code") for folder in (nights.first, nights.second)
    )
    assert before.keys() == {("colour", value) for value in ("red", "blue", "")}
    assert sorted(before.values()) == [1, 2, 3]
    assert {key: after[key] for key in before} == before
    assert {key: code for key, code in after.items() if key not in before}.keys() == {
        ("colour", "green"),
        ("colour", "violet"),
    }
    assert sorted(after.values()) == [1, 2, 3, 4, 5]


def test_tonights_features_are_tonights_under_the_old_numbers(nights: Nights) -> None:
    colour = {
        code: value for (_, value), code in column(nights.second, "item_codes", ["column", "value"], "code").items()
    }
    shown = {
        folder: {item: colour[codes[0]] for item, codes in column(folder, "items_full", "item_id", "codes").items()}
        for folder in (nights.first, nights.second)
    }
    assert shown[nights.first] == COLOURS
    assert shown[nights.second] == {**COLOURS, "q": "green", "a": "violet", "t": "blue"}


def test_who_has_left_the_log_keeps_a_row_without_events(nights: Nights) -> None:
    events = column(nights.second, "users_full", "user_id", "n_events")
    assert events == {"ann": 4, "bob": 4, "mia": 4, "noa": 0, "zoe": 4}
    assert column(nights.second, "items_full", "item_id", "n_events")["s"] == 0


def test_histories_name_the_items_they_did(nights: Nights) -> None:
    item = {idx: name for name, idx in column(nights.second, "item_ids", "item_id", "item_idx").items()}
    histories = column(nights.second, "users_full", "user_id", "history")
    assert {user: "".join(item.get(idx, ".") for idx in history) for user, history in histories.items()} == {
        "ann": "apqr",
        "bob": "qrat",
        "mia": "rqpa",
        "noa": "....",
        "zoe": "tpqr",
    }


def test_the_first_nights_folder_is_left_as_it_was(nights: Nights) -> None:
    assert len(nights.before) > 20
    assert digests(nights.first) == nights.before
    assert nights.first != nights.second
