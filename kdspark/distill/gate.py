"""Fitting an ensemble's gate: which members to believe for which users, learned from what users did next.

The gate has a few weights per member, so it is fitted to all examples at once, by L-BFGS in double precision from equal
shares: no draws, no rates, the same result every time.

Legend: B users, M members, X candidates, F facts of a user.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdspark.config import MixtureConfig
from kdspark.distill.losses import soft_cross_entropy
from kdspark.errors import TrainingError
from kdspark.models.weighing import Gate, gate_factors, standardised

_STEPS = 200


@dataclass(frozen=True)
class GateExamples:
    """Users, what their members say, and what they did next.

    Args:
        facts_BF: `kdspark.models.weighing.facts`.
        known_BM: whether the member knows the user.
        z_BMX: members' z-scores of the candidates, up to a constant per member and user.
        present_BX: False where a user has fewer candidates.
        truth_BX: candidates that the user took.
    """

    facts_BF: Tensor
    known_BM: Tensor
    z_BMX: Tensor
    present_BX: Tensor
    truth_BX: Tensor


def fit_gate(config: MixtureConfig, weights: Sequence[float], examples: GateExamples) -> Gate:
    """The gate that minimises the cross-entropy of what users took, over their candidates, and `l2` times its size.

    The softmax has a temperature of its own, fitted alongside (its logarithm counts to the size) and then forgotten:
    rankings do not depend on it, and without it the gate would mix members only to be less sure.

    Args:
        weights: of the members, which the gate's factors multiply.
        examples: of users with at least one candidate that they took.

    Raises:
        TrainingError: the members' scores are not finite.
    """
    gate = Gate(config, examples.known_BM.shape[1])
    raw_BF = examples.facts_BF.double()
    centre_F, spread_F = raw_BF.mean(dim=0), raw_BF.std(dim=0, correction=0)
    spread_F = torch.where(spread_F > 0, spread_F, 1.0)
    facts_BF, z_BMX = standardised(raw_BF, centre_F, spread_F), examples.z_BMX.double()
    weights_M = torch.tensor(weights, dtype=torch.float64)
    targets_BX = examples.truth_BX / examples.truth_BX.sum(dim=1, keepdim=True)
    parameters_MF = gate.get_buffer("weights").double().requires_grad_()
    log_sharpness = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters_MF, log_sharpness], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        factors_BM = gate_factors(facts_BF, parameters_MF, examples.known_BM) * weights_M
        scores_BX = log_sharpness.exp() * torch.einsum("bm,bmx->bx", factors_BM, z_BMX)
        entropy = soft_cross_entropy(targets_BX, scores_BX.masked_fill(~examples.present_BX, -torch.inf))
        total = entropy + 0.5 * config.l2 * (parameters_MF.square().sum() + log_sharpness.square())
        total.backward()  # type: ignore[no-untyped-call]
        return total

    value = optimizer.step(loss)  # type: ignore[no-untyped-call]
    if not bool(torch.isfinite(value) & torch.isfinite(parameters_MF).all()):
        raise TrainingError("The gate's loss is not finite: a member's scores are not.", "Train the members again.")
    fitted = {"weights": parameters_MF.detach(), "centre": centre_F, "spread": spread_F}
    gate.load_state_dict({name: tensor.float() for name, tensor in fitted.items()})
    return gate.eval()
