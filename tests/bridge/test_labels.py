"""The sampled tail: distinct, allowed, never a top or history item, uniform, and a function of the key alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kdspark.bridge.labels import sample_tail, user_vectors
from kdspark.errors import ConfigError
from kdspark.models.answers import ScoreAnswers, VectorAnswers
from kdspark.ranking.hashing import splitmix64
from kdspark.ranking.index import ItemIndex
from kdspark.ranking.ragged import from_padded
from kdspark.tables import PAD


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(0, 12), st.integers(0, 6), st.integers(1, 9), st.integers(0, 99))
def test_tail_is_distinct_allowed_and_not_excluded(n_items: int, size: int, n_out: int, rows: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    allowed = np.flatnonzero(generator.random(n_items) < 0.8)
    excluded = generator.integers(-1, n_items, (rows, n_out))
    tail = sample_tail(splitmix64(np.arange(rows), seed), allowed, excluded[:, :2], from_padded(excluded[:, 2:]), size)
    assert tail.shape == (rows, size)
    for row in range(rows):
        drawn = tail[row][tail[row] != PAD]
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(allowed) - set(excluded[row])
        assert (tail[row][len(drawn) :] == PAD).all()


def test_tail_fills_up_when_the_catalogue_is_large() -> None:
    tail = sample_tail(splitmix64(np.arange(200)), np.arange(10_000), np.zeros((200, 1), int), None, 50)
    assert (tail != PAD).all()


def test_tail_does_not_depend_on_the_batch() -> None:
    keys, excluded = splitmix64(np.arange(100)), np.arange(300).reshape(100, 3)
    whole = sample_tail(keys, np.arange(500), excluded, None, 20)
    assert np.array_equal(whole[37:38], sample_tail(keys[37:38], np.arange(500), excluded[37:38], None, 20))


def test_tail_is_uniform_over_what_is_left() -> None:
    rows = 20_000
    tail = sample_tail(splitmix64(np.arange(rows), 3), np.arange(20), np.full((rows, 1), 7), None, 4)
    counts = np.bincount(tail[tail != PAD], minlength=20)
    assert counts[7] == 0
    assert stats.chisquare(np.delete(counts, 7)).pvalue > 0.001


def test_a_teacher_without_vectors_says_so() -> None:
    vectors = np.ones((2, 3), np.float32)
    assert user_vectors(VectorAnswers(vectors, ItemIndex(vectors))) is vectors
    with pytest.raises(ConfigError, match="this teacher does not have"):
        user_vectors(ScoreAnswers(vectors))
