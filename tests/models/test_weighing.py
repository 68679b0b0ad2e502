"""Agreement and gates by hand; ensembles give one answer as inner products and as sums of scores."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspark.config import AgreementConfig, MixtureConfig
from kdspark.models.ensemble import Ensemble
from kdspark.models.opinions import Opinions
from kdspark.models.weighing import Agreement, Gate, facts, from_description, overlap, overlap_weights
from tests.models import zoo

HALF = Agreement(AgreementConfig(top=2, persistence=0.5))


def opinions(items: list[list[list[int]]], known: list[list[bool]], history: list[int] | None = None) -> Opinions:
    lists = torch.tensor(items)
    leads = torch.where(lists >= 0, 4.0 - torch.arange(lists.shape[2]), 0.0)
    return Opinions(lists, leads, torch.tensor(known), torch.tensor(history or [0] * len(items)))


def test_agreement_by_hand() -> None:
    # with p = 1/2 cut at 2, depth 1 weighs 2/3 and depth 2 weighs 1/3: overlaps 5/6 (a, b), 1/6 (a, c), 0 (b, c)
    found = HALF(opinions([[[1, 2], [1, 3], [2, 9]]], [[True] * 3]))
    torch.testing.assert_close(found, 3 * torch.tensor([[1.0, 5 / 6, 1 / 6]]) / 2)


def test_a_member_that_is_alone_counts_for_nothing_and_equal_ones_alike() -> None:
    found = HALF(opinions([[[1, 2], [2, 1], [8, 9]], [[1, 2]] * 3], [[True] * 3] * 2))
    torch.testing.assert_close(found, torch.tensor([[1.5, 1.5, 0.0], [1.0, 1.0, 1.0]]))


def test_members_that_do_not_know_the_user_have_no_say() -> None:
    lists = [[[1, 2], [1, 3], [1, 2]]] * 3 + [[[1, 2], [3, 4], [-1, -1]]]
    known = [[True, True, False], [True, False, False], [False] * 3, [True] * 3]
    found = HALF(opinions(lists, known))
    torch.testing.assert_close(found, torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.floats(0.1, 0.95), st.integers(0, 10_000))
def test_overlap_is_the_sum_over_depths(size: int, persistence: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(10)[:size] for _ in range(2)]
    for items in lists:
        items[rng.integers(0, size + 1) :] = -1
    total = 0.0
    for depth in range(1, size + 1):
        common = {int(i) for i in lists[0][:depth]} & {int(i) for i in lists[1][:depth]} - {-1}
        total += (1 - persistence) * persistence ** (depth - 1) * len(common) / depth
    found = overlap(*(torch.tensor(items)[None] for items in lists), overlap_weights(size, persistence))
    assert float(found) == pytest.approx(total / (1 - persistence**size), abs=1e-5)


def test_a_gate_by_hand() -> None:
    gate = Gate(MixtureConfig(), 2)
    seen = opinions([[[1, 2], [3, 4]], [[1, 2], [3, 4]], [[1, -1], [3, 4]]], [[True] * 2, [True] * 2, [True, False]])
    seen = Opinions(seen.items_BMK, seen.leads_BMK, seen.known_BM, torch.tensor([0, 3, 7]))
    torch.testing.assert_close(gate(seen), torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]))  # equal until fitted
    torch.testing.assert_close(
        facts(seen), torch.tensor([[0.0, 0.5, 0.5], [math.log(4), 0.5, 0.5], [math.log(8), 0.0, 0.0]])
    )
    gate.load_state_dict(
        {
            "weights": torch.tensor([[0.0, 1.0, 0.0, 0.0], [math.log(3), 0.0, 0.0, 0.0]]),
            "centre": torch.tensor([0.0, 0.5, 0.5]),
            "spread": torch.tensor([math.log(4) / math.log(9), 1.0, 1.0]),
        }
    )
    # logits 0 and log 3 for the first, log 9 and log 3 for the second
    torch.testing.assert_close(gate(seen), torch.tensor([[0.5, 1.5], [1.5, 0.5], [1.0, 0.0]]))


@pytest.mark.parametrize("name", ["ensemble_by_agreement", "ensemble_by_gate"])
def test_inner_products_and_sums_of_scores_rank_alike(name: str) -> None:
    class Summed(Ensemble):
        factorised = False

    model, batch = zoo.ZOO[name](), zoo.batch()
    assert isinstance(model, Ensemble)
    assert model.factorised
    summed = Summed([m for m in model.members], model.weights, zoo.items(), model.weigher).eval()  # noqa: C416
    with torch.inference_mode():
        items_ND = model.encode_items()
        found = [either.score_users(batch, items_ND)[:, model.allowed()] for either in (model, summed)]
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
    ranks = [scores[:4].argsort(dim=1).tolist() for scores in found]
    assert ranks[0] == ranks[1]


@pytest.mark.parametrize("name", ["ensemble_by_agreement", "ensemble_by_gate", "ensemble_by_gate_of_scores"])
def test_factors_scale_each_members_z_scores(name: str) -> None:
    model, batch = zoo.ZOO[name](), zoo.batch()
    assert isinstance(model, Ensemble)
    assert model.weigher is not None
    with torch.inference_mode():
        items_ND = model.encode_items()
        z_BmN, seen = model.judge(batch, items_ND, model.weigher.config)
        factors_Bm = model.weigher(seen)
        expected = torch.einsum("bm,m,bmn->bn", factors_Bm, torch.tensor(model.weights), z_BmN)
        torch.testing.assert_close(model.score_users(batch, items_ND), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(factors_Bm[0], factors_Bm[1])
    torch.testing.assert_close(factors_Bm.sum(1), seen.known_BM.sum(1).float())


def test_opinions_leave_the_history_and_unpopular_items_out() -> None:
    model, batch = zoo.ZOO["ensemble_by_agreement"](), zoo.batch()
    assert isinstance(model, Ensemble)
    config = AgreementConfig(top=20, items=10)
    _, seen = model.judge(batch, model.encode_items(), config)
    popular = set(zoo.items().n_events.argsort(descending=True)[:10].tolist())
    for row, history in zip(seen.items_BMK, batch.history, strict=True):
        assert set(row.flatten().tolist()) - {-1} <= popular - set(history.tolist())
    assert seen.history_B.tolist() == (batch.history >= 0).sum(1).tolist()


def test_records_and_descriptions_give_the_same_back() -> None:
    model = zoo.ZOO["ensemble_by_gate"]()
    assert isinstance(model, Ensemble)
    gate = model.weigher
    assert isinstance(gate, Gate)
    again = Gate.of_record(gate.config, gate.record())
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in gate.state_dict().items())
    assert gate.record()["facts"] == ["one", "log_history", "lead_0", "lead_1", "lead_2"]
    assert from_description(HALF.describe()).config == HALF.config
    with pytest.raises(ValueError, match="unknown way"):
        from_description({"kind": "vote"})
