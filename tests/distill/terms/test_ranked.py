"""RD, CD, RRD and UnKD against their losses where nothing is left to chance."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from kdspark.distill.context import Context
from kdspark.distill.losses import position_weights, ranking_distillation, relaxed_ranking
from kdspark.distill.targets import standardised
from kdspark.tables import PAD
from tests.distill.terms import steps


def _step(**values: object) -> Context:
    return steps.context(steps.batch(), *steps.vectors(), **values)


def _following(context: Context) -> Context:
    """The same step for a student whose scores are the teacher's logits, far above all other items."""
    one_hot = torch.zeros(steps.ROWS, steps.ITEMS)
    index = torch.where(context.candidates_BC == PAD, steps.ITEMS - 1, context.candidates_BC)
    one_hot.scatter_(1, index, context.logits_BC + 50)
    return dataclasses.replace(context, users_BD=one_hot.requires_grad_(), items_ND=torch.eye(steps.ITEMS))


def test_rd_counts_positions_alone_during_the_warm_up() -> None:
    context = _step(progress=0.24)
    found = steps.term("rd", decay=3.0, warmup=0.25)(context)
    present = context.present_BC[:, : steps.TOP]
    expected = ranking_distillation(context.candidate_scores_BC[:, : steps.TOP], position_weights(present, 3.0))
    torch.testing.assert_close(found, expected)


def test_rd_is_zero_for_a_student_that_ranks_as_the_teacher() -> None:
    context = _following(_step(progress=1.0, mask_history=False))
    assert float(steps.term("rd", samples=steps.ITEMS)(context).detach()) == 0
    assert float(steps.term("rd", samples=steps.ITEMS)(_step(progress=1.0)).detach()) > 0


def test_rd_does_not_hold_the_history_against_the_student() -> None:
    context = _following(_step(progress=1.0))
    users = context.users_BD.detach().clone()
    users.scatter_(1, context.batch.users.history, 1000.0)  # above all, but never to be recommended
    context = dataclasses.replace(context, users_BD=users.requires_grad_())
    term = steps.term("rd", samples=steps.ITEMS)
    assert float(term(context).detach()) == 0
    assert float(term(dataclasses.replace(context, mask_history=False)).detach()) > 0


@pytest.mark.parametrize("guide", ["teacher", "student"])
@pytest.mark.parametrize("standardise", [True, False])
def test_cd_on_all_candidates(guide: str, standardise: bool) -> None:
    context = _step()
    settings = {"guide": guide, "standardise": standardise, "temperature": 2.0, "shift": 0.5}
    found = steps.term("cd", samples=100, **settings)(context)
    logits = standardised(context.logits_BC, context.present_BC) if standardise else context.logits_BC
    losses = F.binary_cross_entropy_with_logits(
        context.candidate_scores_BC, torch.sigmoid((logits + 0.5) / 2), reduction="none"
    )
    rows = [losses[row][context.present_BC[row]].mean() for row in range(5)]
    torch.testing.assert_close(found, torch.stack(rows).mean())


@pytest.mark.parametrize("guide", ["teacher", "student"])
def test_cd_draws_what_its_guide_ranks_first(guide: str) -> None:
    context = _step()
    found = steps.term("cd", samples=1, decay=1e-3, guide=guide, standardise=False)(context)
    leader = context.logits_BC if guide == "teacher" else context.candidate_scores_BC
    first = torch.where(context.present_BC, leader, -torch.inf).argmax(dim=1, keepdim=True)[:5]
    scores, logits = (values[:5].gather(1, first) for values in (context.candidate_scores_BC, context.logits_BC))
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(scores, logits.sigmoid()))


def _own_reference(context: Context, reach: int, unknown: list[int]) -> torch.Tensor:
    """CD on all of the student's `reach` highest items that the teacher knows, row by row; z-scores, T 2, shift .5."""
    assert context.teacher_items_NE is not None
    scores = context.users_BD @ context.items_ND.T
    teacher = context.teacher_users_BE @ context.teacher_items_NE.T
    rows = []
    for row in range(5):  # the last one has no candidates
        known = set(context.batch.users.history[row].tolist()) | set(context.batch.targets[row].tolist())
        ranking = [item for item in scores[row].argsort(descending=True).tolist() if item not in known][:reach]
        own = [item for item in ranking if item not in unknown]
        logits = context.logits_BC[row][context.present_BC[row]]
        z = (teacher[row, own] - logits.mean()) / logits.std(correction=0)
        rows.append(F.binary_cross_entropy_with_logits(scores[row, own], torch.sigmoid((z + 0.5) / 2)))
    return torch.stack(rows).mean()


@pytest.mark.parametrize("catalogue", [True, False])
@pytest.mark.parametrize("pool", [0, steps.ITEMS])
def test_cd_on_the_students_own_top(pool: int, catalogue: bool) -> None:
    context = _step(catalogue=catalogue)
    settings = {"guide": "student", "reach": 9, "pool": pool, "temperature": 2.0, "shift": 0.5}
    term = steps.term("cd", samples=100, **settings)
    torch.testing.assert_close(term(context), _own_reference(context, 9, []))
    assert term.ranks_catalogue == (pool == 0)
    assert not steps.term("cd", guide="student").ranks_catalogue
    unknown = (context.users_BD @ context.items_ND.T).argmax(dim=1).tolist()
    term.get_buffer("known_N")[unknown] = False
    torch.testing.assert_close(term(context), _own_reference(context, 9, unknown))


def test_cd_on_its_own_top_draws_the_first_and_reads_the_teachers_scores_as_they_are() -> None:
    context = _step()
    found = steps.term("cd", samples=1, decay=1e-3, guide="student", reach=9, standardise=False)(context)
    first, scores = (values[:5, :1] for values in context.highest(9, 0))
    logits = torch.einsum("be,be->b", context.teacher_users_BE[:5], steps.teacher_items()[first[:, 0]])[:, None]
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(scores, logits.sigmoid()))


def test_cd_on_its_own_top_leaves_users_out_that_the_teacher_does_not_know() -> None:
    rows = steps.batch()
    assert rows.teacher_vectors is not None
    vectors = rows.teacher_vectors.clone()
    vectors[1:3] = 0
    users, items = steps.vectors()
    context = steps.context(dataclasses.replace(rows, teacher_vectors=vectors), users, items)
    steps.term("cd", guide="student", reach=9)(context).backward()
    assert users.grad is not None
    assert (users.grad.abs().sum(dim=1) > 0).tolist() == [True, False, False, True, True, False]


def test_rrd_on_the_whole_top_and_tail() -> None:
    context = _step()
    found = steps.term("rrd", interesting=100, uninteresting=100)(context)
    scores, present, k = context.candidate_scores_BC, context.present_BC, steps.TOP
    torch.testing.assert_close(found, relaxed_ranking(scores[:, :k], present[:, :k], scores[:, k:], present[:, k:]))


def test_rrd_draws_as_many_as_it_is_told_from_where_its_decay_says() -> None:
    context = _step()
    scores, present, k = context.candidate_scores_BC, context.present_BC, steps.TOP
    alone = steps.term("rrd", interesting=1, uninteresting=0)(context)
    assert float(alone.detach()) == 0  # one item in any order, above nothing
    first = relaxed_ranking(scores[:, :1], present[:, :1], scores[:, k:], present[:, k:])
    steep = [steps.term("rrd", interesting=1, uninteresting=100, decay=1e-3)(context) for _ in range(8)]
    torch.testing.assert_close(torch.stack(steep), first.expand(8))
    flat = [steps.term("rrd", interesting=1, uninteresting=100, decay=1e3)(context) for _ in range(8)]
    assert float(torch.stack(flat).detach().std()) > 0


@pytest.mark.parametrize("mu", [0.01, 2.0])
def test_rd_weighs_what_the_student_ranks_too_low_as_sharply_as_mu_says(mu: float) -> None:
    context = _step(progress=1.0)
    found = steps.term("rd", samples=steps.ITEMS, mu=mu, decay=3.0)(context)
    scores, present = (part[:, : steps.TOP] for part in (context.candidate_scores_BC, context.present_BC))
    above = context.sampled(steps.ITEMS)[1][:, None, :] > (scores + 1e-4)[:, :, None]
    ranks = 1 + (above.sum(dim=2) * (steps.ITEMS - 1)).div(steps.ITEMS, rounding_mode="floor")
    low = (ranks - torch.arange(1, steps.TOP + 1)).clamp(min=0)
    expected = ranking_distillation(scores, position_weights(present, 3.0) * torch.tanh(mu * low))
    torch.testing.assert_close(found, expected)


def test_unkd_pairs_of_one_group_by_hand() -> None:
    """One group and a flat draw: the mean over many pairs is that over all ordered pairs of candidates."""
    context = _step()
    torch.manual_seed(0)
    found = steps.term("unkd", groups=1, pairs=20_000, decay=1e6)(context)
    rows = []
    for row in range(5):
        scores = context.candidate_scores_BC[row][context.present_BC[row]]  # in the teacher's order already
        better, worse = torch.triu_indices(len(scores), len(scores), offset=1)
        rows.append(-F.logsigmoid(scores[better] - scores[worse]).mean())
    torch.testing.assert_close(found, torch.stack(rows).mean(), rtol=0.02, atol=0)


def test_unkd_takes_the_teachers_order_from_its_scores() -> None:
    context = _step()
    order = torch.randperm(steps.TOP + steps.TAIL, generator=torch.Generator().manual_seed(1))
    rows = dataclasses.replace(
        context.batch, candidates=context.candidates_BC[:, order], logits=context.logits_BC[:, order]
    )
    shuffled = dataclasses.replace(context, batch=rows)
    found = []
    for step in (context, shuffled):
        torch.manual_seed(2)
        found.append(steps.term("unkd", groups=2)(step).detach())
    torch.testing.assert_close(found[0], found[1])


def test_unkd_is_small_for_a_student_that_follows() -> None:
    context = _step()
    following = _following(context)
    following = dataclasses.replace(following, users_BD=following.users_BD * 30)
    torch.manual_seed(0)
    assert float(steps.term("unkd", groups=2)(following).detach()) < 0.2
