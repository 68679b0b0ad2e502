"""A model folder says which ids its numbers stand for; a folder of another workspace is refused."""

import numpy as np
import pytest
import torch

from kdspark import tables
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.vocabulary import _has_user_table, check_vocabulary, vocabulary_stamp
from kdspark.config import EASEConfig
from kdspark.errors import ModelError
from kdspark.models.batch import ItemTable
from kdspark.models.closed_form import EASE, Factors
from kdspark.models.ensemble import Ensemble
from kdspark.models.storage import save_model
from kdspark.spark.io import write_table

ITEMS, USERS = ["a", "b", "c"], [30, 10]


def workspace(spark, folder, items, users):
    items_schema = f"{tables.ITEM_IDX} INT, {tables.ITEM_ID} STRING"
    users_schema = f"{tables.USER_IDX} INT, {tables.USER_ID} BIGINT"
    write_table(spark.createDataFrame(list(enumerate(items)), items_schema), "item_ids", folder / "item_ids")
    write_table(spark.createDataFrame(list(enumerate(users)), users_schema), "user_ids", folder / "user_ids")
    return Prepared(folder)


def saved(spark, folder, prepared, with_users):
    catalogue = ItemTable.without_features(np.ones(3, int))
    ease = EASE(EASEConfig(), torch.zeros(3, 3), 2, catalogue)
    als = Factors.from_numpy(np.ones((2, 4)), np.ones((3, 4)), catalogue)
    model = Ensemble([ease, als], None, catalogue) if with_users else ease
    save_model(model, folder, vocabulary_stamp(spark, prepared))
    return folder


@pytest.mark.parametrize("with_users", [False, True])
def test_grown_vocabularies_fit(spark, tmp_path, with_users):
    folder = saved(spark, tmp_path / "model", workspace(spark, tmp_path / "1", ITEMS, USERS), with_users)
    check_vocabulary(spark, workspace(spark, tmp_path / "2", [*ITEMS, "d"], [*USERS, 20, 5]), folder)


@pytest.mark.parametrize("items", [["b", "a", "c"], ["a", "b", "x"], ["a", "b"]])
def test_other_items_are_refused(spark, tmp_path, items):
    folder = saved(spark, tmp_path / "model", workspace(spark, tmp_path / "1", ITEMS, USERS), False)
    with pytest.raises(ModelError, match="trained on other items: its first 3 items are not tonight's"):
        check_vocabulary(spark, workspace(spark, tmp_path / "2", items, USERS), folder)


def test_other_users_matter_to_user_tables_alone(spark, tmp_path):
    first, second = workspace(spark, tmp_path / "1", ITEMS, USERS), workspace(spark, tmp_path / "2", ITEMS, [10, 30])
    check_vocabulary(spark, second, saved(spark, tmp_path / "ease", first, False))
    with pytest.raises(ModelError, match="other users"):
        check_vocabulary(spark, second, saved(spark, tmp_path / "both", first, True))


def test_erased_users_have_no_ids_to_compare(spark, tmp_path):
    first, erased = (
        workspace(spark, tmp_path / "1", ITEMS, USERS),
        workspace(spark, tmp_path / "2", ITEMS, [30, None, 20]),
    )
    folder = saved(spark, tmp_path / "model", first, True)
    check_vocabulary(spark, erased, folder)
    with pytest.raises(ModelError, match="other items"):
        check_vocabulary(spark, workspace(spark, tmp_path / "3", ["a", None, "c"], [30, None]), folder)


def test_which_models_have_a_table_of_users():
    kinds = ("mf", "als", "lightgcn", "gru", "ease", "gfcf")
    assert [_has_user_table({"kind": kind}) for kind in kinds] == [True, True, True, False, False, False]
    assert _has_user_table({"kind": "ensemble", "members": [{"kind": "ease"}, {"kind": "lightgcn"}]})
