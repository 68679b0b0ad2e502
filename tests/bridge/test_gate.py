"""What a gate is fitted on, against sets in Python, and that it helps on the tables of a night."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kdspark.bridge import gate as module
from kdspark.bridge.gate import candidates, gate_examples, train_gate
from kdspark.bridge.items import load_items
from kdspark.bridge.prepared import Prepared
from kdspark.bridge.validation import validator
from kdspark.config import MixtureConfig, TrainingConfig
from kdspark.errors import TrainingError
from kdspark.models.closed_form import Factors
from kdspark.models.ensemble import Ensemble
from tests.bridge.small_tables import GROUPS, ITEMS, USERS, grouped

CONFIG = MixtureConfig(top=10, items=ITEMS)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return grouped(tmp_path / "prepared")


def ensemble(prepared: Prepared) -> Ensemble:
    """Two members, each right about the users of one parity, and unsure and wrong about the others."""
    items = load_items(prepared.items("train"))
    users, groups = np.arange(USERS), np.eye(GROUPS)
    members = []
    for parity in (0, 1):
        right_U1 = (users % 2 == parity)[:, None]
        wrong_UG = np.roll(groups[users % GROUPS], 1, axis=1)
        tastes_UG = np.where(right_U1, groups[users % GROUPS], wrong_UG)
        noise_UF = np.where(right_U1, 0.1, 0.6) * np.random.default_rng(9).normal(size=(USERS, 3))
        noise_NF = np.random.default_rng(parity).normal(size=(ITEMS, 3))
        items_ND = np.concatenate([groups[np.arange(ITEMS) % GROUPS], noise_NF], axis=1)
        members.append(Factors.from_numpy(np.concatenate([tastes_UG, noise_UF], axis=1), items_ND, items))
    return Ensemble(list(members), None, items).eval()


def test_candidates_by_hand() -> None:
    taken = torch.tensor([[7, -1], [1, 4]])
    liked = torch.tensor([[3, 7, 3, 2], [5, -1, 0, 1]])
    old = torch.zeros(2, 8, dtype=torch.bool)
    old[0, 2] = old[1, 4] = old[1, 5] = True  # 4 is taken again
    items, present = candidates(taken, liked, old)
    found = [sorted(row[there].tolist()) for row, there in zip(items, present, strict=True)]
    assert found == [[3, 7], [0, 1, 4]]
    assert items[:, :2].tolist() == taken.tolist()
    assert present[:, :2].tolist() == [[True, False], [True, True]]


def test_examples_hold_members_scores_of_what_they_like_and_what_was_taken(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, users = ensemble(prepared), np.arange(0, USERS, 3)
    whole = gate_examples(model, CONFIG, prepared, users)
    monkeypatch.setattr(module, "_BLOCK_FLOATS", 4 * 2 * ITEMS)
    blocks = gate_examples(model, CONFIG, prepared, users)
    for one, two in zip(vars(whole).values(), vars(blocks).values(), strict=True):
        torch.testing.assert_close(one, two)
    assert len(whole.facts_BF) == len(users)
    taken = dict(zip(*prepared.events_of(users, ["valid"]), strict=True))
    z_BmN, seen = model.judge(prepared.user_rows(users, "train"), model.encode_items(), CONFIG)
    for row, user in enumerate(users):
        old = set(prepared.events_of(np.array([user]), ["train"])[1].tolist())
        liked = set(seen.items_BMK[row].flatten().tolist()) - {-1}
        expected = sorted((liked - old) | {int(taken[user])})
        present, truth = whole.present_BX[row], whole.truth_BX[row]
        found = sorted(whole.z_BMX[row, 0, present].tolist())
        np.testing.assert_allclose(found, sorted(z_BmN[row, 0, expected].tolist()), atol=1e-6)
        assert whole.z_BMX[row, :, truth].flatten().tolist() == z_BmN[row, :, int(taken[user])].tolist()


def test_a_fitted_gate_ranks_better_than_fixed_weights(prepared: Prepared) -> None:
    model = ensemble(prepared)
    measure = validator(prepared, TrainingConfig(valid_k=5), 1)
    fixed = measure(model)
    gate = train_gate(model, CONFIG, prepared, seed=1)
    model.weigher = gate
    assert measure(model) > 1.02 * fixed
    again = train_gate(model, CONFIG, prepared, seed=1)  # a gate that is there already is not asked
    assert torch.equal(again.get_buffer("weights"), gate.get_buffer("weights"))
    some = train_gate(model, CONFIG.model_copy(update={"users": 10}), prepared, seed=1)
    assert not torch.equal(some.get_buffer("weights"), gate.get_buffer("weights"))


def test_no_validation_events(prepared: Prepared) -> None:
    model = ensemble(prepared)
    (prepared.folder / "manifest.json").write_text(json.dumps({"facts": {"splits": {"valid": 0}}}))
    with pytest.raises(TrainingError, match="fitted on validation events, and there are none") as error:
        train_gate(model, CONFIG, prepared, seed=1)
    assert "agreement" in error.value.remedy


def test_validation_events_on_items_that_no_member_knows(prepared: Prepared) -> None:
    model = ensemble(prepared)
    model.get_buffer("n_events").zero_()
    model.get_buffer("n_events")[0] = 1
    users = np.array([1])  # whose items are 1, 5, 9, ...
    with pytest.raises(TrainingError, match="the members know none of their users or items"):
        gate_examples(model, CONFIG, prepared, users)
