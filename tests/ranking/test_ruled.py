"""Lists under all rules at once, against going down the whole catalogue item by item in Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.ranking import ruled
from kdspark.ranking.ruled import BACKFILL, BOOSTED, COLD_START, MODEL, OVER_CAP, Catalogue
from kdspark.ranking.rules import Caps, Diversity, Rules, Subjects, of_segments
from tests.ranking.lists import words

SEGMENTS = 3


def csr(lists):
    return np.cumsum([0, *map(len, lists)]), np.array([item for one in lists for item in one], np.int64)


class Case:
    """A night's rules, drawn, and what they are made of."""

    def __init__(self, seed, n_users, n_items, dims, lists=2, groups=4, boosts=False):
        rng = np.random.default_rng(seed)
        self.rng, self.n_users, self.n_items = rng, n_users, n_items
        if boosts:
            self.users, self.items = rng.standard_normal((n_users, dims)), rng.standard_normal((n_items, dims))
        else:  # full of ties
            self.users, self.items = rng.integers(-2, 3, (n_users, dims)), rng.integers(-2, 3, (n_items, dims))
        self.users, self.items = self.users.astype(np.float32), self.items.astype(np.float32)
        self.popularity = rng.integers(0, 5, n_items).astype(np.float32)
        self.known_items, self.known_users = rng.random(n_items) < 0.7, rng.random(n_users) < 0.8
        self.allowed = rng.random(n_items) < 0.8
        self.withheld = rng.random((n_items, lists)) < 0.3
        self.segment_lists = rng.random((SEGMENTS, lists)) < 0.5
        self.segments = [sorted(set(rng.integers(0, SEGMENTS, rng.integers(0, 3)).tolist())) for _ in range(n_users)]
        self.groups = [sorted(set(rng.integers(0, groups, rng.integers(0, 3)).tolist())) for _ in range(n_items)]
        self.most, self.soft = rng.integers(1, 3, groups), rng.random(groups) < 0.5
        self.backfill = np.where(rng.random(n_items) < 0.8, rng.integers(0, 3, n_items), -np.inf).astype(np.float32)
        self.boosts = rng.normal(0, 1, (n_items, 1 + SEGMENTS)) if boosts else np.empty((n_items, 0))
        self.boosts = (self.boosts * (rng.random(self.boosts.shape) < 0.3)).astype(np.float32)
        self.out = [rng.integers(-1, n_items + 2, rng.integers(0, n_items)).tolist() for _ in range(n_users)]
        self.limited = rng.random(n_users) < 0.3
        self.granted = [
            rng.integers(0, n_items, rng.integers(0, n_items)).tolist() if limited else [] for limited in self.limited
        ]

    def rules(self, diversity=None):
        pairs = [(item, group) for item, own in enumerate(self.groups) for group in own]
        pairs = tuple(np.array(pairs, np.int64).reshape(-1, 2).T)
        weights = np.hstack([np.ones((SEGMENTS, 1)), np.eye(SEGMENTS)])[:, : self.boosts.shape[1]]
        return Rules(
            self.allowed,
            words(self.withheld),
            self.boosts,
            Caps.of(self.n_items, pairs, self.most.astype(np.int32), self.soft),
            self.backfill,
            words(self.segment_lists),
            weights.astype(np.float32),
            diversity,
        )

    def found(self, k, diversity=None):
        rules = self.rules(diversity)
        subjects = Subjects(*of_segments(rules, csr(self.segments)), csr(self.out), csr(self.granted), self.limited)
        catalogue = Catalogue(self.items, self.known_items, self.popularity, rules)
        return catalogue.lists(self.users, self.known_users, subjects, k, 16)

    def expected(self, user, k):
        """(items, reasons), by definition."""
        subject = {i for segment in self.segments[user] for i in np.flatnonzero(self.segment_lists[segment])}
        may = [
            item
            for item in range(self.n_items)
            if self.allowed[item]
            and not subject & set(np.flatnonzero(self.withheld[item]))
            and item not in self.out[user]
            and (not self.limited[user] or item in self.granted[user])
        ]
        known = self.known_users[user]
        scores = self.items.astype(float) @ self.users[user] if known else self.popularity.astype(float)
        boost = np.zeros(self.n_items)
        if self.boosts.shape[1]:
            ranked = scores[self.allowed & self.known_items]
            deviation = ranked.std() if len(ranked) else 0
            boost = self.boosts[:, [0, *(1 + segment for segment in self.segments[user])]].sum(axis=1)
            scores = scores + deviation * boost
        items, reasons = [], []
        first = sorted((i for i in may if self.known_items[i]), key=lambda i: (-scores[i], i))
        order = self.backfill
        last = sorted(
            (i for i in may if not self.known_items[i] and np.isfinite(order[i])), key=lambda i: (-order[i], i)
        )
        for among, reason, over in ((first, MODEL if known else COLD_START, OVER_CAP), (last, BACKFILL, BACKFILL)):
            for hard_only in (False, True):
                for item in among:
                    counts = [sum(group in self.groups[i] for i in items) for group in self.groups[item]]
                    pairs = zip(counts, self.groups[item], strict=True)
                    fits = all(n < self.most[group] or (hard_only and self.soft[group]) for n, group in pairs)
                    if len(items) < k and item not in items and fits:
                        items.append(item)
                        reasons.append(over if hard_only else reason)
        raised = {i for i in items if boost[i] > 0}
        return items, [
            BOOSTED if reason == MODEL and i in raised else reason for i, reason in zip(items, reasons, strict=True)
        ]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 50), st.booleans(), st.integers(1, 25))
def test_equals_going_down_the_catalogue(seed, n_users, n_items, boosts, k):
    case = Case(seed, n_users, n_items, 3, boosts=boosts)
    found = case.found(k)
    for user in range(n_users):
        items, reasons = case.expected(user, k)
        n = found.filled_B[user]
        assert found.items_BK[user, :n].tolist() == items
        assert found.reasons_BK[user, :n].tolist() == reasons
        assert (found.items_BK[user, n:] == -1).all()
        assert np.isneginf(found.scores_BK[user, n:]).all()


def test_a_pool_that_the_caps_close_is_followed_by_another(monkeypatch):
    """Hundreds of the best items are of one group: the list goes on where these end."""
    monkeypatch.setattr(ruled, "_ENTRIES", 1)  # a user at a time
    case = Case(0, 5, 1000, 1)
    case.items = -np.arange(1000, dtype=np.float32)[:, None]
    case.users = np.ones((5, 1), np.float32)
    case.groups = [[0] if item < 900 else [1] if item < 950 else [] for item in range(1000)]
    case.most, case.soft = np.array([2, 3]), np.array([False, False])
    case.known_items[:] = case.known_users[:] = True
    case.limited[:] = False
    found = case.found(10)
    for user in range(5):
        assert found.items_BK[user].tolist() == case.expected(user, 10)[0]
    assert (found.items_BK[:, 5] >= 950).all()


def test_no_users_and_nothing_allowed():
    case = Case(1, 3, 20, 2)
    case.allowed[:] = False
    assert case.found(5).filled_B.tolist() == [0, 0, 0]


def mmr(scores, units, pool, share, k):
    """By its formula, item by item."""
    best = np.argsort(-scores, kind="stable")[:pool]
    relevance = (scores[best] - scores[best].min()) / np.ptp(scores[best])
    chosen = []
    while len(chosen) < k:
        near = [max(0, *(units[item] @ units[other] for other in chosen), 0) for item in best]
        value = (1 - share) * relevance - share * np.array(near)
        value[np.isin(best, chosen)] = -np.inf
        chosen.append(best[value.argmax()])
    return chosen


@pytest.mark.parametrize("share", [0.2, 0.7, 1.0])
def test_diversity_is_maximal_marginal_relevance(share):
    case = Case(5, 20, 200, 6, boosts=True)
    case.boosts[:] = 0
    case.groups, case.out, case.segments = [[]] * 200, [[]] * 20, [[]] * 20
    case.known_items[:] = case.known_users[:] = case.allowed[:] = True
    case.limited[:] = False
    found = case.found(10, Diversity(share, 60))
    centred = case.items.astype(float) - case.items.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    for user in range(20):
        scores = case.items.astype(float) @ case.users[user]
        chosen = mmr(scores, units, 60, share, 10)
        assert found.items_BK[user].tolist() == chosen
        np.testing.assert_allclose(found.scores_BK[user], scores[chosen], rtol=1e-5)


def test_diversity_keeps_caps_and_fills_lists():
    case = Case(8, 30, 120, 4, boosts=True)
    plain, diverse = case.found(12), case.found(12, Diversity(0.5, 40))
    assert diverse.filled_B.tolist() == plain.filled_B.tolist()
    assert (diverse.items_BK != plain.items_BK).any()
    for user in range(30):
        own = diverse.items_BK[user, : diverse.filled_B[user]].tolist()
        assert len(set(own)) == len(own)
        capped = [item for item, why in zip(own, diverse.reasons_BK[user], strict=False) if why in (MODEL, BOOSTED)]
        for group, most in enumerate(case.most):
            assert sum(group in case.groups[item] for item in capped) <= most
