"""The benchmark of a step's cost on a small catalogue: what it says, not how long it takes."""

from types import ModuleType

import pytest


def test_rows_and_ratios_fit_each_other(distill: ModuleType) -> None:
    import catalogue  # found beside `distill`

    result = catalogue.run(n_items=12_000, repeats=2)
    full, *others = result["rows"]
    assert full["cost_vs_full"] == 1
    assert full["refresh_seconds_per_step"] == 0
    assert [*result["ratios"].values()] == [row["cost_vs_full"] for row in others]
    for row in others:
        cost = row["step_seconds"] + row["refresh_seconds_per_step"]
        assert row["cost_vs_full"] == pytest.approx(cost / full["step_seconds"])
        assert (row["refresh_seconds_per_step"] > 0) == ("refresh" in row["method"])
    own_top, rce = (row["refresh_seconds_per_step"] for row in others if "refresh" in row["method"])
    assert own_top != rce  # each is timed by itself
    assert all(row["method"] in catalogue.text_table(result) for row in result["rows"])
