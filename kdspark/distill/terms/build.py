"""From configured losses to terms."""

import torch

from kdspark.config import CDConfig, DEConfig, LossConfig, RCEConfig, RDConfig, RRDConfig, TopologyConfig, UnKDConfig
from kdspark.distill.terms.ranked import CollaborativeTerm, PopularityTerm, RankingTerm, RelaxedTerm
from kdspark.distill.terms.rejuvenated import RejuvenatedTerm
from kdspark.distill.terms.term import Setting, Term
from kdspark.distill.terms.vectors import HintTerm, TopologyTerm
from kdspark.ranking.hashing import splitmix64

_STREAM = 0x7E7215  # the terms' weights are not the model's, though the seed is


def build_terms(setting: Setting, seed: int) -> list[Term]:
    """The terms of `setting.distill.losses`, with fresh weights that depend on the seed and each term's own settings.

    torch's global generator is left as it was.

    Raises:
        ConfigError: a term reads the teacher's vectors, and there are none.
    """
    terms = []
    for config in setting.distill.losses:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(splitmix64(_STREAM, seed)) >> 1)
            terms.append(_build(config, setting))
    return terms


def _build(config: LossConfig, setting: Setting) -> Term:
    match config:
        case RDConfig():
            return RankingTerm(config, setting)
        case CDConfig():
            return CollaborativeTerm(config, setting)
        case RRDConfig():
            return RelaxedTerm(config, setting)
        case UnKDConfig():
            return PopularityTerm(config, setting)
        case RCEConfig():
            return RejuvenatedTerm(config, setting)
        case DEConfig():
            return HintTerm(config, setting)
        case TopologyConfig():
            return TopologyTerm(config, setting)
