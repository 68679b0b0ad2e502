"""Which rows the teacher answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.stages.trial import stages_up_to
from tests.stages.tiny import runner_of, tiny_config


def test_scoring_inputs_alone(spark: SparkSession, tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path,
        teacher={"kind": "ease"},
        student={"kind": "mf", "dim": 3, "training": {"epochs": 2, "learning_rate": 0.05}},
        soft_labels={"top_k": 5, "tail": 0, "scoring_inputs": 1, "positions": False},
        distill={"hard_weight": 0, "candidates": "catalogue"},
    )
    runner = runner_of(spark, tmp_path / "root", config)
    everywhere = config | {"soft_labels": {**config["soft_labels"], "positions": True}}
    assert runner.key("soft_labels") != runner_of(spark, tmp_path / "root", everywhere).key("soft_labels")
    runner.run(stages_up_to("train_student", runner.stages))
    labels = pd.read_parquet(runner.output("soft_labels") / "soft_labels").sort_values(tables.USER_IDX)
    users = pd.read_parquet(runner.output("prepare") / "users_train").sort_values(tables.USER_IDX)
    assert labels[tables.USER_IDX].tolist() == users[tables.USER_IDX].tolist()
    assert labels[tables.POSITION].tolist() == users[tables.N_EVENTS].tolist()
    assert np.stack([*labels[tables.HISTORY]]).tolist() == np.stack([*users[tables.HISTORY]]).tolist()
    assert (np.stack([*labels[tables.TARGETS]]) == tables.PAD).all()
    assert (np.stack([*labels[tables.CANDIDATES]]) != tables.PAD).all()


@pytest.mark.parametrize("positions", [True, False])
def test_labels_do_not_depend_on_what_is_kept_of_a_history(
    spark: SparkSession, tmp_path: Path, positions: bool
) -> None:
    """The teacher reads what scoring reads, and answers nothing that its user did, even before that."""
    config = tiny_config(
        tmp_path,
        teacher={"kind": "ease"},
        student={"kind": "mf", "dim": 3, "training": {"epochs": 2}},
        soft_labels={"top_k": 25, "tail": 2, "scoring_inputs": 1, "positions": positions},
    )
    found = {}
    for kept in (4, 2):
        config["data"] |= {"features": {"history_length": 4}, "examples": {"history_length": kept, "max_positions": 3}}
        runner = runner_of(spark, tmp_path / f"root-{kept}", config)
        runner.run(stages_up_to("soft_labels", runner.stages))
        labels = pd.read_parquet(runner.output("soft_labels") / "soft_labels")
        labels = labels.sort_values([tables.USER_IDX, tables.POSITION])
        events = pd.read_parquet(runner.output("prepare") / "interactions").query("split == 'train'")
        found[kept] = [list(map(list, labels[name])) for name in (tables.CANDIDATES, tables.LOGITS, tables.HISTORY)]
        items = events.sort_values("ts").groupby(tables.USER_IDX)[tables.ITEM_IDX].agg(list)
        for row in labels.itertuples():
            done = set(items[row.user_idx][: row.position])
            assert len(done) > 4 or row.position <= 4
            assert not done & set(row.candidates)
            assert set(row.candidates) | done == {*range(25), tables.PAD}
    if positions:  # these are read as they are kept
        assert [history[-2:] for history in found[4][2]] == found[2][2]
    else:  # rows stand for whole histories, and keep all of them
        assert found[4] == found[2]
        assert {len(history) for history in found[2][2]} == {6}
