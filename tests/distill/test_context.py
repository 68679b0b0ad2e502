"""The teacher's scores of any items, from its vectors."""

import pytest
import torch

from kdspark.distill.batches import ExampleBatch
from kdspark.errors import TrainingError
from kdspark.tables import PAD
from tests.distill.terms import steps


@pytest.mark.parametrize("autocast", [False, True])
def test_the_teachers_scores_are_inner_products_in_float32(autocast: bool) -> None:
    context = steps.context(steps.batch(), *steps.vectors())
    items = torch.tensor([[3, PAD, 3]] * steps.ROWS)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = context.teacher_scores(items)
    whole = context.teacher_users_BE @ steps.teacher_items().T
    torch.testing.assert_close(found, whole[:, [3, 0, 3]])


def test_rows_without_the_teachers_vectors_have_no_such_scores() -> None:
    rows = steps.batch()
    context = steps.context(ExampleBatch(rows.users, rows.targets), *steps.vectors())
    with pytest.raises(TrainingError, match="no vectors of the teacher"):
        context.teacher_scores(torch.zeros(steps.ROWS, 1, dtype=torch.int64))
