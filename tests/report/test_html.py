"""The report: self-contained, deterministic, escaped, complete, and whole when parts of the data are missing."""

import re
from html.parser import HTMLParser

import pytest

from kdspark.report.html import render, write_report
from tests.report.sample import comparison

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Checker(HTMLParser):
    """Collects ids, and fails on tags that do not close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.references = [], [], set()

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag, attrs):
        self._note(attrs)

    def _note(self, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            self.references |= set(re.findall(r"url\(#([^)]+)\)", value or ""))
            if name == "href" and value.startswith("#"):
                self.references.add(value[1:])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page():
    return render(comparison(), {"name": "ml100k", "student": {"kind": "gru"}}, {"seed": 42}, 0.95)


def test_well_formed_with_unique_ids_that_resolve(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert checker.references <= set(checker.ids)
    assert len(checker.references) > 4


def test_self_contained(page):
    assert not re.search(r"https?:|//[a-z]|<script|<link|<img|@import|src=", page)
    assert page.count("<svg") == 4 + 5  # four pictures, one interval per model
    assert "#010203" not in page


def test_shows_verdict_models_intervals_configuration_and_facts(page):
    for text in (
        "The student keeps 98.9%",
        "Student, distilled",
        "3,012,224",
        "0.183\u20130.199",
        "95% intervals",
        "kind: gru",
        "<dt>seed</dt><dd>42</dd>",
        "98,114",
        "Hit rate@20",
        "Tail: Recall@10",
        "-0.0070 to +0.0050",
    ):
        assert text in page, text


def test_equal_input_gives_equal_bytes(page, tmp_path):
    path = tmp_path / "report.html"
    write_report(path, comparison(), {"name": "ml100k", "student": {"kind": "gru"}}, {"seed": 42}, 0.95)
    assert path.read_text(encoding="utf-8") == page


def test_names_are_escaped():
    sample = comparison()
    sample["models"][1]["title"] = "<b>&ALS"
    sample["dataset"]["name"] = "<script>alert(1)</script>"
    page = render(sample)
    assert "<b>&ALS" not in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_missing_parts_leave_the_rest():
    sample = comparison()
    sample["paired"], sample["curves"] = [], {}
    for model in sample["models"]:
        model["slices"] = {"activity": [], "popularity": []}
        model["exposure"] = []
        model["metrics"]["ndcg@10"] = {"value": None, "low": None, "high": None}
    page = render(sample)
    assert "Paired differences" not in page
    assert "Popular and unpopular" not in page
    assert "Models side by side" in page
    assert "Configuration" not in page


def test_models_without_intervals_and_unknown_models_are_drawn():
    sample = comparison()
    sample["models"][1]["model"] = "ease"
    sample["models"][4]["metrics"]["ndcg@10"].update(low=None, high=None)
    sample["curves"]["something else"] = [{"epoch": 1, "loss": 2.0}]
    page = render(sample)
    assert "EASE" not in page
    assert "#4aa58a" in page
