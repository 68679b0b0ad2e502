"""Searches with a computed objective: the same trials however often they are stopped; failures do not stop them."""

import math
from pathlib import Path
from typing import Any

import pytest

from kdspark.errors import InputError, StageError, TrainingError
from kdspark.report.search import TrialRecord, best_trial
from kdspark.search.loop import Measured, run_trials
from kdspark.search.study import JOURNAL, Study
from tests.search.fake import Fake, run, space


def without_seconds(trials: list[TrialRecord]) -> list[dict[str, Any]]:
    return [{**trial, "seconds": 0} for trial in trials]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_stopped_twice_and_killed_once_it_tries_what_it_would_have_tried(tmp_path: Path, sampler: str) -> None:
    whole = run(tmp_path / "whole", space(14, sampler=sampler), Fake(breaks=5))
    run(tmp_path / "parts", space(3, sampler=sampler), Fake(breaks=5))
    killed = Fake(dies=8, breaks=5)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", space(14, sampler=sampler), killed)
    last = Fake(breaks=5)
    parts = run(tmp_path / "parts", space(14, sampler=sampler), last)
    assert last.calls[0] == killed.calls[-1]  # the killed one again
    assert without_seconds(parts) == without_seconds(whole)
    assert [trial["number"] for trial in parts] == list(range(14))
    other = run(tmp_path / "other", space(3, sampler=sampler, seed=7), Fake())
    assert [trial["parameters"] for trial in other] != [trial["parameters"] for trial in whole[:3]]


def test_values_are_those_of_the_search_file(tmp_path: Path) -> None:
    asked = Fake()
    for trial, values in zip(run(tmp_path, space(30, sampler="random"), asked), asked.calls, strict=True):
        assert trial["parameters"] == values
        assert list(values) == ["distill.lambda", "student.dim", "student.training.epochs"]
        assert 0.1 <= values["distill.lambda"] <= 10
        assert values["distill.lambda"] == float(f"{values['distill.lambda']:.6g}")
        assert values["student.training.epochs"] in range(5, 41, 5)
        assert type(values["student.training.epochs"]) is int
    assert {repr(values["student.dim"]) for values in asked.calls} == {"8", "16", "True", "None", "[1, 2]"}


def test_tpe_goes_where_values_are_good(tmp_path: Path) -> None:
    trials = run(tmp_path, space(30), Fake())
    early, late = ([trial["value"] or 0.0 for trial in part] for part in (trials[:10], trials[20:]))
    assert sum(late) / 10 > sum(early) / 10
    study = Study(tmp_path, space(30))
    shares = study.importances()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["student.dim"] < max(shares.values())  # it changes nothing


def test_a_failed_trial_has_its_reason_and_counts(tmp_path: Path) -> None:
    trials = run(tmp_path, space(12, sampler="random"), Fake(breaks=3))
    failed = [trial for trial in trials if trial["state"] == "failed"]
    assert 0 < len(failed) < 12
    assert all(trial["parameters"]["distill.lambda"] > 3 for trial in failed)
    assert {(trial["value"], trial["reason"]) for trial in failed} == {(None, "The loss is not finite. Lower it.")}
    best = best_trial(trials)
    assert best is not None
    assert best["value"] == max(trial["value"] for trial in trials if trial["value"] is not None)
    assert best["values"] == pytest.approx([best["value"] - 0.01, best["value"] + 0.01])


def test_a_metric_that_is_not_finite_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"All 2 trials of the search failed; the first: .* not finite: \[nan\]"):
        run(tmp_path, space(2), lambda values: Measured([math.nan], [1], 1))
    assert len(Study(tmp_path, space(2)).trials()) == 2  # written down all the same


def test_an_error_of_no_trials_own_stops_the_search(tmp_path: Path) -> None:
    def missing(values: dict[str, Any]) -> Measured:
        raise InputError("The log is empty.", "Bring another.")

    with pytest.raises(InputError):
        run(tmp_path, space(2), missing)
    assert Study(tmp_path, space(2)).trials() == []


def test_a_grid_is_tried_once_each_in_the_seeds_order(tmp_path: Path) -> None:
    fields = {"student.dim": {"choices": [8, 16]}, "distill.lambda": {"low": 0.5, "high": 1.5, "step": 0.5}}

    def tried(seed: int, trials: int) -> list[tuple[Any, ...]]:
        search = space(trials, fields=fields, sampler="grid", seed=seed)
        found = run(tmp_path / str(seed), search, lambda values: Measured([1.0], [1], 1))
        return [tuple(trial["parameters"].values()) for trial in found]

    first = tried(1, 2)
    everything = tried(1, 100)
    assert everything[:2] == first
    assert sorted(everything) == [(dim, rate) for dim in (8, 16) for rate in (0.5, 1.0, 1.5)]
    assert tried(2, 100) != everything


def test_values_tried_before_are_not_measured_again(tmp_path: Path) -> None:
    fields = {"student.dim": {"choices": [8, 16]}}
    calls: list[int] = []

    def measure(values: dict[str, Any]) -> Measured:
        calls.append(values["student.dim"])
        return Measured([values["student.dim"] / 100], [4], 9)

    trials = run(tmp_path, space(6, fields=fields, sampler="random"), measure)
    assert sorted(calls) == [8, 16]
    assert [trial["value"] for trial in trials] == [trial["parameters"]["student.dim"] / 100 for trial in trials]
    assert {trial["weights"] for trial in trials} == {9}


def test_a_torn_line_of_the_journal_is_dropped_and_a_damaged_one_named(tmp_path: Path) -> None:
    run(tmp_path, space(3), Fake())
    journal = tmp_path / JOURNAL
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    assert len(run(tmp_path, space(5), Fake())) == 5
    journal.write_bytes(b"nonsense\n" + journal.read_bytes())
    with pytest.raises(StageError, match=r"journal\.log is damaged"):
        Study(tmp_path, space(5))


def test_tidy_comes_after_every_trial(tmp_path: Path) -> None:
    order: list[str] = []

    def measure(values: dict[str, Any]) -> Measured:
        order.append("trial")
        return Fake()(values)

    run_trials(Study(tmp_path, space(2)), measure, lambda: order.append("tidy"))
    assert order == ["trial", "tidy"] * 2
