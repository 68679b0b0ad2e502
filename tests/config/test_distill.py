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
    ],
)
def test_mistakes_are_named(losses: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(), [f"distill.losses={losses}"])
    assert message in str(caught.value)


def test_something_must_be_learned() -> None:
    with pytest.raises(ConfigError, match="nothing to learn"):
        parse_config(minimal(), ["distill={lambda: 0, hard_weight: 0, losses: []}"])
