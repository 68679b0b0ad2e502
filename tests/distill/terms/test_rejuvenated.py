"""RCE-KD's term against a reference that goes row by row."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kdspark.distill.context import Context
from kdspark.distill.targets import soft_targets
from kdspark.distill.terms import Term
from kdspark.tables import PAD
from tests.distill.terms import steps

OWN, REACH, T = 6, 15, 2.0


def _context(*step: Any, **values: Any) -> Context:
    return steps.context(*step, temperature=T, **values)


def _term(**values: Any) -> Term:
    return steps.term("rce", top=OWN, reach=REACH, samples=REACH, beta=1.5, distill={"temperature": T}, **values)


def _reference(context: Context, term: Term) -> Tensor:
    """With as many samples as there are items in reach, A is all of them that stand above an item of Q_2."""
    p_BC = soft_targets(term.distill, context.candidates_BC, context.logits_BC, steps.TOP)  # type: ignore[arg-type]
    scores = (context.users_BD @ context.items_ND.T).float()
    losses = []
    for row in range(5):
        top = [int(item) for item in context.candidates_BC[row, : steps.TOP] if item != PAD]
        p = dict(zip(top, p_BC[row].tolist(), strict=False))
        known = set(context.batch.users.history[row].tolist()) | set(context.batch.targets[row].tolist())
        ranking = [int(item) for item in scores[row].argsort(descending=True) if int(item) not in known]
        own, reach = set(ranking[:OWN]), ranking[:REACH]
        shared, rest = [i for i in top if i in own], [i for i in top if i not in own]
        above = {j for j in reach if any(scores[row, j] > scores[row, i] for i in rest)}
        gamma = math.exp(-1.5 * len(shared) / len(top))
        first = _cross_entropy(scores[row] / T, p, shared, own)
        second = _cross_entropy(scores[row] / T, p, [i for i in top if i in rest or i in above], above | set(rest))
        losses.append((1 - gamma) * first + gamma * second)
    return torch.stack(losses).mean()


def _cross_entropy(scores_N: Tensor, p: dict[int, float], targets: list[int], classes: set[int]) -> Tensor:
    if not targets:
        return torch.zeros(())
    log_q = {item: scores_N[item] - scores_N[sorted(classes)].logsumexp(0) for item in targets}
    total = sum(p[item] for item in targets)
    return torch.stack([-p[item] / total * log_q[item] for item in targets]).sum()


@pytest.mark.parametrize("catalogue", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_whole_catalogue_row_by_row(seed: int, catalogue: bool) -> None:
    term = _term()
    context = _context(steps.batch(seed), *steps.vectors(seed + 10), catalogue=catalogue)
    torch.testing.assert_close(term(context), _reference(context, term))


@pytest.mark.parametrize(("tau", "steady"), [(1e-3, True), (1e3, False)])
def test_tau_decides_whether_what_stands_above_the_most_is_drawn(tau: float, steady: bool) -> None:
    """The student ranks items by number: of those above any of the teacher's, only 39 stands above all four."""
    rows = steps.batch()
    top, tail = torch.tensor([38, 20, 10, 5]), torch.tensor([6, 7, 8])
    history = torch.tensor([0, 1, 2]).expand(steps.ROWS, -1)
    rows = dataclasses.replace(
        rows,
        users=dataclasses.replace(rows.users, history=history),
        targets=torch.full((steps.ROWS, 1), 3),
        candidates=torch.cat([top, tail]).expand(steps.ROWS, -1),
        logits=torch.arange(7.0, 0.0, -1.0).expand(steps.ROWS, -1),
    )
    users, items = torch.ones(steps.ROWS, 1), torch.arange(steps.ITEMS, dtype=torch.float32)[:, None] / 8
    term = steps.term("rce", top=1, reach=REACH, samples=1, tau=tau)
    found = torch.stack([term(_context(rows, users, items)) for _ in range(12)])
    assert (float(found.std()) < 1e-6) == steady


def test_a_pool_of_everything_is_the_catalogue() -> None:
    term = _term(pool=steps.ITEMS)
    context = _context(steps.batch(), *steps.vectors())
    torch.testing.assert_close(term(context), _reference(context, term))
    assert not term.ranks_catalogue
    assert _term().ranks_catalogue


@pytest.mark.parametrize("catalogue", [True, False])
def test_kept_items_that_are_still_the_highest_are_the_catalogue(catalogue: bool) -> None:
    term = _term(refresh=2)
    context = _context(steps.batch(), *steps.vectors(), catalogue=catalogue)
    kept, _ = context.highest(REACH)
    context = dataclasses.replace(context, kept_BR=kept.flip(1))  # in no order any more
    torch.testing.assert_close(term(context), _reference(context, term))
    assert not term.ranks_catalogue


def test_the_highest_of_kept_items_and_candidates_by_todays_scores() -> None:
    rows = steps.batch()
    earlier = _context(rows, *steps.vectors(7)).highest(5)[0]
    context = _context(rows, *steps.vectors(), kept_BR=earlier)
    items, scores = context.highest(9, kept=True)
    today = (context.users_BD @ context.items_ND.T).detach()
    for row in range(steps.ROWS):
        union = set(earlier[row].tolist()) | set(context.candidates_BC[row].tolist()) - {PAD}
        expected = sorted(union, key=lambda item: -float(today[row, item]))[:9]
        assert [item for item in items[row].tolist() if item != PAD] == expected
        torch.testing.assert_close(scores[row, : len(expected)], today[row, expected])


@pytest.mark.parametrize("catalogue", [True, False])
@pytest.mark.parametrize("pool", [0, steps.ITEMS, 10])
def test_pool_and_catalogue_never_hold_what_is_known_or_an_item_twice(pool: int, catalogue: bool) -> None:
    rows = steps.batch()
    assert rows.candidates is not None
    rows.targets[1] = rows.candidates[1, 0]  # what the teacher recommends stays, though the user did it
    for masked in (True, False):
        context = _context(rows, *steps.vectors(), catalogue=catalogue, mask_history=masked)
        items, scores = context.highest(steps.ITEMS, pool)
        for row in range(steps.ROWS):
            found = [item for item in items[row].tolist() if item != PAD]
            assert len(found) == len(set(found))
            history, target = set(rows.users.history[row].tolist()), int(rows.targets[row, 0])
            assert not (set(found) & history and masked)
            assert (target in found) == (row == 1)
            assert (scores[row, : len(found)].diff() <= 0).all()
            assert (scores[row, len(found) :] == -torch.inf).all()
        if pool == 0:
            assert bool((items[0][:, None] == rows.users.history[0]).any()) != masked


def test_samples_and_reach_beyond_the_catalogue_do_no_harm() -> None:
    term = steps.term("rce", top=500, reach=500, samples=500)
    found = term(_context(steps.batch(), *steps.vectors()))
    assert torch.isfinite(found.detach())
