"""Both kinds of answers give the best items and chosen scores that the whole score matrix has."""

import numpy as np
import pytest
import torch

from kdspark.models.answers import Catalogue, ScoreAnswers, VectorAnswers, answer
from kdspark.tables import PAD
from tests.models import zoo


@pytest.mark.parametrize(("name", "kind"), [("gru", VectorAnswers), ("gfcf", ScoreAnswers)])
def test_answers_are_those_of_the_score_matrix(name: str, kind: type) -> None:
    model, batch = zoo.ZOO[name](), zoo.batch()
    with torch.inference_mode():
        items_ND = model.encode_items()
        answers = answer(model, batch, Catalogue(items_ND, model.allowed()))
        scores = model.score_users(batch, items_ND).numpy()
    assert isinstance(answers, kind)
    allowed = model.allowed().numpy()
    found, best = answers.top(6)
    order = np.argsort(-np.where(allowed, scores, -np.inf), axis=1, kind="stable")[:, :6]
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(best, np.take_along_axis(scores, order, 1), rtol=1e-5)
    chosen = np.array([[0, PAD, 7]] * 5)
    np.testing.assert_allclose(answers.scores_of(chosen)[:, [0, 2]], scores[:, [0, 7]], rtol=1e-5)
    assert (answers.scores_of(chosen)[:, 1] == 0).all()
