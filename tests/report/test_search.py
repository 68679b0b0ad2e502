"""A search's table, best values and report: complete, in order, escaped, self-contained, and read back as they were."""

import copy
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kdspark.config import parse_config
from kdspark.config.load import apply_overrides
from kdspark.report.search import (
    SearchRecord,
    best_configuration,
    best_trial,
    one_line,
    overrides_of,
    ranked,
    search_table,
)
from kdspark.report.search_html import render_search
from tests.config.test_load import minimal
from tests.report.test_html import Checker

FIELDS = {
    "distill.lambda": {"low": 0.1, "high": 10, "log": True, "step": None},
    "student": {"choices": [{"kind": "bag"}, {"kind": "gru", "dim": 8}]},
    "teacher.members.0.l2": {"low": 10, "high": 500, "log": False, "step": 10},
}


def trial(number: int, value: float | None, rate: float, l2: int, reason: str = "") -> dict[str, Any]:
    student = FIELDS["student"]["choices"][number % 2]  # type: ignore[index]
    return {
        "number": number,
        "state": "failed" if value is None else "done",
        "value": value,
        "values": [] if value is None else [value - 0.01, value + 0.01],
        "parameters": {"distill.lambda": rate, "student": student, "teacher.members.0.l2": l2},
        "epochs": [] if value is None else [4, 5],
        "weights": 12_345,
        "seconds": 1.26,
        "reason": reason,
    }


def record() -> SearchRecord:
    trials = [
        trial(0, 0.11, 0.25, 100),
        trial(1, 0.13, 1e-05, 200),
        trial(2, None, 7.0, 300, "`student`: <dim> & heads."),
        trial(3, 0.13, 3.0, 20),
    ]
    found: Any = {
        "name": "night-0a1b2c",
        "date": "2024-01-01",
        "target": "student",
        "metric": "ndcg@10",
        "sampler": "tpe",
        "seed": 42,
        "repeats": 2,
        "fields": FIELDS,
        "trials": trials,
        "best": 1,
        "importances": {"distill.lambda": 0.8, "student": 0.2, "teacher.members.0.l2": 0.0},
        "overrides": overrides_of(trials[1]["parameters"]),
    }
    return copy.deepcopy(found)


def test_the_earliest_of_equal_trials_is_best_and_failed_ones_come_last() -> None:
    best = best_trial(record()["trials"])
    assert best is not None
    assert best["number"] == 1
    assert [found["number"] for found in ranked(record()["trials"])] == [1, 3, 0, 2]
    assert best_trial(record()["trials"][2:3]) is None


def test_table() -> None:
    lines = search_table(record()).splitlines()
    assert lines[0].split() == ["trial", "ndcg@10", *FIELDS, "epochs", "seconds"]
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["1", "0.1300", "1e-05"],
        ["3", "0.1300", "3"],
        ["0", "0.1100", "0.25"],
    ]
    assert "{kind: gru, dim: 8}" in lines[2]
    assert lines[2].split()[-2:] == ["4.5", "1.3"]
    assert lines[5].split()[:2] == ["2", "failed"]
    assert lines[-1] == "trial 2 failed: `student`: <dim> & heads."


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("a:#{[ ,'é-1e"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
def test_overrides_are_read_back_as_the_value(value: Any) -> None:
    raw: dict[str, Any] = {}
    apply_overrides(raw, overrides_of({"a.b": value}))
    assert raw == {"a": {"b": value}}
    assert "\n" not in one_line(value)


def test_the_best_configuration_is_the_searched_one_with_the_best_values() -> None:
    raw = minimal()
    before = copy.deepcopy(raw)
    text = best_configuration(raw, record())
    assert raw == before
    expected = parse_config(minimal(), record()["overrides"])
    assert parse_config(yaml.safe_load(text)) == expected
    assert expected.distill.lambda_ == 1e-5
    assert "# --set distill.lambda=1.0e-05\n# --set 'student={kind: gru, dim: 8}'\n" in text


@pytest.fixture(scope="module")
def page() -> str:
    return render_search(record())


def test_well_formed_and_self_contained(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert checker.references <= set(checker.ids)
    assert not re.search(r"https?:|//[a-z]|<script|<link|<img|@import|src=", page)


def test_complete_and_escaped(page: str) -> None:
    assert page.count("<svg") == 2 + 3  # history, importances, one slice per field
    assert "ndcg@10 0.1300 on validation in trial 1" in page
    assert "`student`: &lt;dim&gt; &amp; heads." in page
    assert "0.1200\u20130.1400" in page
    assert "80%" in page
    assert re.search(r'<tr class="chosen"><td class="plain">1</td>', page)
    assert len(re.findall(r"<tr(?: class=\"chosen\")?><td class=\"plain\">", page)) == 3
    assert page == render_search(record())


def test_a_single_trial_without_importances() -> None:
    found = record()
    found["trials"], found["best"], found["importances"], found["repeats"] = found["trials"][:1], 0, {}, 1
    found["trials"][0]["values"] = [0.11]
    page = render_search(found)
    assert page.count("<svg") == 1 + 3
    assert "Failed trials" not in page
    assert "smallest and the largest" not in page
