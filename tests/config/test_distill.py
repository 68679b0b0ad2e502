"""The distillation section: kinds of losses, their bounds, and what they read."""

import pytest

from kdspark.config import DistillConfig, RCEConfig, RDConfig, parse_config
from kdspark.errors import ConfigError
from tests.config.test_load import minimal


def distill(**values: object) -> DistillConfig:
    return DistillConfig.model_validate(values)


def test_the_default_is_the_soft_labels_alone() -> None:
    config = distill()
    assert (config.distils, config.reads_candidates, config.reads_vectors) == (True, True, False)
    assert config.losses == []


def test_without_lambda_and_losses_nothing_is_distilled() -> None:
    config = distill(**{"lambda": 0})
    assert (config.distils, config.reads_candidates, config.reads_vectors) == (False, False, False)


@pytest.mark.parametrize("kind", ["rd", "cd", "rrd", "unkd", "rce", "de", "topology"])
def test_every_kind_has_defaults_and_says_what_it_reads(kind: str) -> None:
    config = distill(**{"lambda": 0, "hard_weight": 0}, losses=[{"kind": kind}])
    vectors = kind in ("de", "topology")
    assert (config.distils, config.reads_candidates, config.reads_vectors) == (True, not vectors, vectors)
    assert config.losses[0].weight == 1.0
    assert DistillConfig.model_validate(config.model_dump(mode="json", by_alias=True)) == config


def test_losses_are_read_from_lists() -> None:
    config = parse_config(minimal(), ["distill.losses=[{kind: rd, weight: 0.5}, {kind: rce, pool: 4096}]"])
    assert config.distill.losses == [RDConfig(weight=0.5), RCEConfig(pool=4096)]
    changed = parse_config(
        minimal() | {"distill": {"losses": [{"kind": "rd"}]}}, ["distill.losses.0.decay=3", "distill.targets=power"]
    )
    assert changed.distill.losses == [RDConfig(decay=3.0)]


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ("[{kind: bpr}]", "`distill.losses.0`"),
        ("[{weight: 1}]", "`distill.losses.0`"),
        ("[{kind: rd, weight: 0}]", "`distill.losses.0.rd.weight`"),
        ("[{kind: cd}, {kind: rd, groups: 2}]", "`distill.losses.1.rd.groups`: unknown key"),
        ("[{kind: rd, warmup: 1.5}]", "`distill.losses.0.rd.warmup`"),
        ("[{kind: cd, guide: nobody}]", "`distill.losses.0.cd.guide`"),
        ("[{kind: topology, share: 1}]", "`distill.losses.0.topology.share`"),
        ("[{kind: de, rows: none}]", "`distill.losses.0.de.rows`"),
        ("[{kind: rrd}, {kind: rrd}]", "`losses` holds one kind twice"),
        ("[{kind: cd, guide: student, refresh: 2}]", "`refresh` would do nothing with `reach: 0`"),
        ("[{kind: rce, refresh: 2, pool: 50}]", "`pool` would do nothing with `refresh`"),
        (
            "[{kind: rce, refresh: 2}, {kind: cd, guide: student, reach: 9, refresh: 1}]",
            "`refresh` differs between `losses` and `own_top`",
        ),
        ("[{kind: cd, reach: 50}]", "`reach` would do nothing with `guide: teacher`"),
        ("[{kind: cd, guide: student, pool: 50}]", "`pool` would do nothing with `reach: 0`"),
        ("[{kind: de, rows: users, items: 7}]", "`items` would do nothing with `rows: users`"),
        ("[{kind: topology, hierarchical: false, share: 0.4}]", "`share` would do nothing with `hierarchical: false`"),
    ],
)
def test_mistakes_are_named(losses: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(), [f"distill.losses={losses}"])
    assert message in str(caught.value)


def test_rrd_needs_a_tail_to_push_down() -> None:
    with pytest.raises(ConfigError, match=r"and `soft_labels\.tail` is 0"):
        parse_config(minimal(), ["distill.losses=[{kind: rrd}]", "soft_labels.tail=0"])
    parse_config(minimal(), ["distill.losses=[{kind: rrd, uninteresting: 0}]", "soft_labels.tail=0"])


def test_something_must_be_learned() -> None:
    with pytest.raises(ConfigError, match="nothing to learn"):
        parse_config(minimal(), ["distill={lambda: 0, hard_weight: 0, losses: []}"])


@pytest.mark.parametrize(
    ("loss", "reads"),
    [
        ({"kind": "de"}, {"users", "items"}),
        ({"kind": "de", "rows": "users"}, {"users"}),
        ({"kind": "topology", "rows": "items"}, {"items"}),
        ({"kind": "cd", "guide": "student"}, {"candidates"}),
        ({"kind": "cd", "guide": "student", "reach": 50}, {"candidates", "users", "items"}),
    ],
)
def test_what_a_loss_reads_follows_from_its_keys(loss: dict[str, object], reads: set[str]) -> None:
    config = distill(**{"lambda": 0}, losses=[loss])
    assert config.losses[0].reads == reads
    assert config.reads_vectors == bool(reads & {"users", "items"})
    assert config.reads_user_vectors == ("users" in reads)
    assert config.reads_candidates == ("candidates" in reads)


@pytest.mark.parametrize(
    "teacher",
    [
        "{kind: ease}",
        "{kind: ease, keep: 100}",
        "{kind: gfcf}",
        "{kind: ensemble, members: [{kind: als}, {kind: ensemble, members: [{kind: gfcf}, {kind: als}]}]}",
    ],
)
def test_a_teacher_without_short_vectors_is_refused_before_any_work(teacher: str) -> None:
    losses = "distill.losses=[{kind: topology}, {kind: rd}, {kind: de, rows: items}]"
    with pytest.raises(ConfigError, match="topology and de would read the teacher's vectors, but an item-item model"):
        parse_config(minimal(), [f"teacher={teacher}", losses])
    parse_config(minimal(), [f"teacher={teacher}", "distill.losses=[{kind: cd, guide: student}]"])
    parse_config(minimal(), ["teacher={kind: ensemble, members: [{kind: als}, {kind: mf}]}", losses])


def test_losses_that_keep_the_students_own_top_share_it() -> None:
    losses = [{"kind": "rce", "top": 70, "reach": 30}, {"kind": "cd", "guide": "student", "reach": 90}]
    assert (distill(losses=losses).refresh, distill(losses=losses).kept) == (0, 0)
    losses[0]["refresh"] = 3
    assert (distill(losses=losses).refresh, distill(losses=losses).kept) == (3, 70)
    losses[1]["refresh"] = 3
    assert (distill(losses=losses).refresh, distill(losses=losses).kept) == (3, 90)


def test_the_students_own_top_within_the_softmax_is_shared_too() -> None:
    own_top = {"size": 80, "refresh": 3}
    common: dict[str, object] = {"candidates": "catalogue", "own_top": own_top}
    assert (distill(**common).refresh, distill(**common).kept) == (3, 80)
    losses = [{"kind": "rce", "reach": 90, "refresh": 3}]
    assert (distill(**common, losses=losses).refresh, distill(**common, losses=losses).kept) == (3, 90)
    losses[0]["refresh"] = 2
    with pytest.raises(ValueError, match="`refresh` differs between `losses` and `own_top`"):
        distill(**common, losses=losses)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["distill.candidates=candidates"], "`own_top` would do nothing with `candidates: candidates`"),
        (["distill.lambda=0"], "`own_top` would do nothing with `lambda: 0`"),
        (["student.training.negatives=0"], "`distill.own_top` does nothing with `student.training.negatives: 0`"),
        (["student.training.epochs=10"], "`distill`: `refresh` 10 would find the student's own top only before"),
        (["distill.own_top.size=0"], "`distill.own_top.size`"),
    ],
)
def test_own_top_that_would_do_nothing_is_refused(changes: list[str], message: str) -> None:
    good = ["distill={candidates: catalogue, own_top: {}}", "student.training={epochs: 11, negatives: 64}"]
    parse_config(minimal(), good)
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(), [*good, *changes])
    assert message in str(caught.value)


def test_the_students_own_top_is_not_that_of_an_untrained_student_forever() -> None:
    losses = "distill.losses=[{kind: rce, refresh: 4}]"
    with pytest.raises(ConfigError, match=r"`refresh` 4 would find .* only before it has learned anything; lower it"):
        parse_config(minimal(), [losses, "student.training.epochs=4"])
    assert parse_config(minimal(), [losses, "student.training.epochs=5"]).distill.refresh == 4
