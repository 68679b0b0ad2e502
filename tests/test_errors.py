"""Errors that come from another process."""

import pickle

from kdspark.errors import StageError


def test_an_error_survives_the_way_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(StageError("It is not there.", "Run it again.")))
    assert type(error) is StageError
    assert (str(error), error.problem, error.remedy) == (
        "It is not there. Run it again.",
        "It is not there.",
        "Run it again.",
    )
