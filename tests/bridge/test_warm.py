"""A student that starts from an earlier one: its new users are folded in, if they will be trained."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from kdspark.bridge import warm
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.warm import member_folder, start_from, write_members
from kdspark.config import BagConfig, MFConfig
from kdspark.errors import ModelError
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.build import build_model
from kdspark.models.closed_form import Popularity
from kdspark.models.ensemble import Ensemble
from kdspark.models.recommender import Recommender
from kdspark.models.storage import load_model, save_model, store_as
from tests.bridge.test_prepared import write

OLD_USERS, USERS, OLD_ITEMS, ITEMS = 3, 7, 6, 8
HISTORIES = [[-1, 0], [1, 2], [2, 3], [-1, 4], [0, 7], [6, 7], [1, 5]]  # items 6 and 7 are new
TRAINED = [6, 0, 3, 5, 6]  # users with training rows; 1, 2 and 4 have none


def model_of(n_users: int, n_items: int, config: MFConfig | BagConfig | None = None) -> Recommender:
    items = ItemTable.without_features(np.ones(n_items, int))
    return build_model(config or MFConfig(dim=2), n_users, n_items, items, FeatureSizes(), seed=n_users)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    order = [4, 6, 0, 2, 1, 3, 5]
    empty = [[] for _ in order]
    histories = [HISTORIES[user] for user in order]
    write(
        tmp_path / "users_train" / "0.parquet",
        user_idx=order, history=histories, codes=empty, numbers=empty, vector=empty,
    )  # fmt: skip
    write(tmp_path / "examples_train" / "0.parquet", user_idx=TRAINED)
    (tmp_path / "features.json").write_text(json.dumps({"user_sizes": {}}))
    return Prepared(tmp_path)


def test_new_users_with_training_rows_are_folded_in_by_the_items_known_before(
    tmp_path: Path, prepared: Prepared
) -> None:
    old = model_of(OLD_USERS, OLD_ITEMS)
    with torch.no_grad():
        table = old.get_parameter("user_encoder.table.weight")
        table[:2] = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    save_model(old, tmp_path / "old")
    new = model_of(USERS, ITEMS)
    items = ItemTable.without_features(np.ones(ITEMS, int))
    start_from(tmp_path / "old", new, prepared, items, "train", prepared.examples("train"))
    found = new.get_parameter("user_encoder.table.weight").detach()
    assert found[0].tolist() == [3.0, 4.0]
    vectors = new.encode_items().detach()[:, :-1]
    for user, known in ((3, [4]), (6, [1, 5])):
        assert found[user].norm() == pytest.approx(3.0)  # the mean of 5 and 1
        gram = vectors.T @ vectors
        by_hand = torch.linalg.solve(gram + 0.01 * gram.diagonal().mean() * torch.eye(2), vectors[known].sum(0))
        torch.testing.assert_close(found[user], by_hand / by_hand.norm() * 3)
    # 5 has chosen new items alone, and 1, 2 and 4 have no training row that could move them on
    assert (found[[1, 2, 4, 5]] == 0).all()


def test_models_without_user_tables_and_strangers(tmp_path: Path, prepared: Prepared) -> None:
    bag = BagConfig(dim=2, history_length=2)
    save_model(model_of(OLD_USERS, OLD_ITEMS, bag), tmp_path / "bag")
    items = ItemTable.without_features(np.ones(ITEMS, int))
    new = model_of(USERS, ITEMS, bag)
    start_from(tmp_path / "bag", new, prepared, items, "train", prepared.examples("train"))
    old = model_of(OLD_USERS, OLD_ITEMS, bag).state_dict()["item_encoder.ids.weight"]
    assert torch.equal(new.state_dict()["item_encoder.ids.weight"][:OLD_ITEMS], old)
    save_model(Popularity(OLD_USERS, OLD_ITEMS, items), tmp_path / "popularity")
    with pytest.raises(ModelError, match="holds a popularity"):
        start_from(tmp_path / "popularity", new, prepared, items, "train", prepared.examples("train"))


def test_a_start_from_int8_is_one_from_what_was_shipped(tmp_path: Path, prepared: Prepared) -> None:
    config, items = MFConfig(dim=2000), ItemTable.without_features(np.ones(ITEMS, int))
    old = model_of(OLD_USERS, OLD_ITEMS, config)
    with torch.no_grad():
        old.get_parameter("user_encoder.table.weight")[0].normal_(generator=torch.Generator().manual_seed(1))
    save_model(old, tmp_path / "old")
    store_as(tmp_path / "old", "int8")
    new = model_of(USERS, ITEMS, config)
    start_from(tmp_path / "old", new, prepared, items, "train", prepared.examples("train"))
    shipped, found = load_model(tmp_path / "old", items).state_dict(), new.state_dict()
    for name, rows in (("item_encoder.ids.weight", OLD_ITEMS), ("user_encoder.table.weight", 1)):
        assert torch.equal(found[name][:rows], shipped[name][:rows])
        assert not torch.equal(found[name][:rows], old.state_dict()[name][:rows])
    assert (found["user_encoder.table.weight"][[1, 2]] == 0).all()  # whoever had no vector has none


def test_copies_start_from_copies(tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    bag, catalogue = BagConfig(dim=2, history_length=2), ItemTable.without_features(np.ones(ITEMS, int))
    old = [build_model(bag, OLD_USERS, OLD_ITEMS, catalogue, FeatureSizes(), seed) for seed in (1, 2)]
    save_model(Ensemble(old, None, catalogue), tmp_path / "old")
    none = [[] for _ in range(ITEMS)]
    write(
        tmp_path / "items_train" / "0.parquet",
        item_idx=range(ITEMS), n_events=[1] * ITEMS, codes=none, numbers=none, vector=none,
    )  # fmt: skip
    monkeypatch.setattr(warm, "check_vocabulary", lambda *_: None)
    assert warm.misfit(cast(Any, None), prepared, "train", tmp_path / "old") is None
    starts = write_members(tmp_path / "old", prepared, "train", tmp_path / "starts")
    for index, member in enumerate(old):
        new = model_of(USERS, ITEMS, bag)
        start_from(member_folder(starts, index), new, prepared, catalogue, "train", prepared.examples("train"))
        ids = "item_encoder.ids.weight"
        assert torch.equal(new.state_dict()[ids][:OLD_ITEMS], member.state_dict()[ids])
    save_model(old[0], tmp_path / "single")
    with pytest.raises(ModelError, match="holds a bag, not an ensemble"):
        write_members(tmp_path / "single", prepared, "train", tmp_path / "nothing")


def test_why_an_earlier_student_does_not_fit(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    none, vectors = [[] for _ in range(ITEMS)], [[0.5] * 3 for _ in range(ITEMS)]
    write(
        tmp_path / "items_train" / "0.parquet",
        item_idx=range(ITEMS), n_events=[1] * ITEMS, codes=none, numbers=none, vector=vectors,
    )  # fmt: skip
    spark = cast(Any, None)
    checked: list[Path] = []
    monkeypatch.setattr(warm, "check_vocabulary", lambda *args: checked.append(args[2]))
    for width, expected in (
        (3, None),
        (2, "features of 0 numbers and 2 vector entries, tonight has 0 and"),
    ):
        items = ItemTable.from_numpy(*(np.zeros((OLD_ITEMS, n)) for n in (0, 0, width)), np.ones(OLD_ITEMS))
        folder = tmp_path / f"of-{width}"
        save_model(build_model(MFConfig(dim=2), OLD_USERS, OLD_ITEMS, items, FeatureSizes(), seed=1), folder)
        found = warm.misfit(spark, prepared, "train", folder)
        assert found == expected if expected is None else expected in str(found)
        assert checked[-1] == folder

    def refuse(*_: object) -> None:
        raise ModelError("It was trained on other items.", "Use another.")

    monkeypatch.setattr(warm, "check_vocabulary", refuse)
    assert warm.misfit(spark, prepared, "train", tmp_path / "of-3") == "It was trained on other items."
