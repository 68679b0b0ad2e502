"""The history of nights in the report."""

import datetime as dt
from typing import Any

from kdspark.report.history import COLUMNS, history_figure, history_rows
from kdspark.report.html import render
from kdspark.workspace.health import SCHEMA
from tests.report.sample import comparison
from tests.report.test_html import Checker


def night(day: int, **more: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(SCHEMA.names),
        "date": dt.date(2024, 1, day),
        "run": f"run{day}",
        "published": True,
        "outcome": "published",
        "metric_name": "ndcg@10",
        "student_metric": 0.1 + day / 1000,
        "users": 1000 * day,
        "null_rates": {"interactions.user": 0.01, "items.brand": 0.2},
        "psi": {"user_activity": 0.031},
        **more,
    }


NIGHTS = [night(1), night(2), night(3, published=False, outcome="blocked", reason="<b>too few</b>"), night(4)]


def test_every_run_is_a_row_the_latest_first() -> None:
    rows = history_rows(NIGHTS)
    assert [row["date"] for row in rows] == ["2024-01-04", "2024-01-03", "2024-01-02", "2024-01-01"]
    assert rows[1]["reason"] == "<b>too few</b>"
    cells = dict(zip(COLUMNS, rows[0]["cells"], strict=True))
    assert (cells["Student"], cells["Users"], cells["Teacher"]) == ("0.1040", "4,000", "-")
    assert (cells["Missing values, most"], cells["PSI, largest"]) == ("20.0%", "0.031")


def test_the_page_has_pictures_of_published_nights() -> None:
    page = render(comparison(), history=NIGHTS)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert "items.brand" in page
    assert "&lt;b&gt;too few" in page
    assert page == render(comparison(), history=NIGHTS)
    assert "01-04" in history_figure(NIGHTS)
    assert "01-03" not in history_figure(NIGHTS)


def test_without_nights_there_is_no_history_and_with_one_no_picture() -> None:
    assert "The nights before" not in render(comparison())
    assert history_figure(NIGHTS[:1]) == ""
    assert history_figure([night(1, null_rates={}, psi={}, student_metric=None), night(2, null_rates={}, psi={})])
