"""The soft part of the loss: KL(teacher || student) at temperature T, on the candidates or against the catalogue.

Legend: B rows, C candidates, S sampled items, R the student's own top items, N items.
"""

import math

import torch
from torch import Tensor

from kdspark.config import DistillConfig
from kdspark.distill.context import Context
from kdspark.distill.losses import entropy, kl_divergence, mean_of_rows
from kdspark.distill.schedules import agreement_temperatures, agreement_weights
from kdspark.distill.scores import sample_items
from kdspark.distill.targets import soft_targets
from kdspark.models.gather import rows_of
from kdspark.models.history import sampled_mask
from kdspark.tables import PAD


def soft_loss(context: Context, config: DistillConfig, negatives: int) -> Tensor:
    """KL in nats, without lambda and T^2 (Hinton et al., 2015); the mean over rows with candidates, weighted where
    lambda, or the temperature of a row (by the square of its own factor), goes by agreement.

    Args:
        config: targets, temperature, and whether the student's softmax is over the candidates or the catalogue.
        negatives: items drawn to estimate the catalogue's softmax, 0 to score it whole.
    """
    candidates_BC = context.candidates_BC
    targets_BC, temperature = targets_of_step(context, config)
    weights_B = None
    if config.agreement is not None:
        weights_B = agreement_weights(targets_BC, candidates_BC, context.batch.targets, config.agreement.least)
    if isinstance(temperature, Tensor):
        own_B = (temperature / context.temperature).squeeze(1).square()
        weights_B = own_B if weights_B is None else weights_B * own_B
    own_BC = context.candidate_scores_BC / temperature
    own_BC = own_BC.masked_fill(candidates_BC == PAD, -torch.inf)
    if config.candidates == "candidates":
        return kl_divergence(targets_BC, own_BC, weights_B)
    if negatives:
        own_top = config.own_top.size if config.own_top is not None else 0
        rest_B1 = _sampled_log_sum(context, own_BC, temperature, negatives, own_top)
    else:
        rest_B1 = context.log_sum(True, temperature)
    # cross-entropy with a given log-normaliser: sum p (log Z - s), a row without candidates counting nothing
    losses_BC = targets_BC * torch.where(targets_BC > 0, rest_B1 - own_BC, 0.0)
    return mean_of_rows(losses_BC.sum(dim=1), targets_BC, weights_B) - entropy(targets_BC, weights_B)


def targets_of_step(context: Context, config: DistillConfig) -> tuple[Tensor, float | Tensor]:
    """Soft targets [B, C], and the temperature that they have: the step's, or one for each row [B, 1]."""
    arguments = config, context.candidates_BC, context.logits_BC, context.top_k
    targets_BC = soft_targets(*arguments, context.temperature)
    if config.agreement_temperature is None:
        return targets_BC, context.temperature
    most = config.agreement_temperature.most
    factors_B1 = agreement_temperatures(targets_BC, context.candidates_BC, context.batch.targets, most)
    temperature_B1 = context.temperature * factors_B1
    return soft_targets(*arguments, temperature_B1), temperature_B1


def _sampled_log_sum(
    context: Context, own_BC: Tensor, temperature: float | Tensor, negatives: int, own_top: int
) -> Tensor:
    """log Z of the catalogue without the history: of the candidates, the student's own top and the targets exactly, of
    the rest from a uniform sample.

    Drawn uniformly, the few items that weigh most are nearly always missed, and pushed down by many times their share
    when they are hit: taken out of the estimate, what is left of it varies little.
    """
    n_items = len(context.items_ND)
    sampled_S = sample_items(n_items, negatives, context.items_ND.device)
    scores_BS = (context.users_BD @ rows_of(context.items_ND, sampled_S).T).float() / temperature
    exact, left_out = [own_BC], [context.candidates_BC]
    if context.mask_soft:
        left_out.append(context.batch.users.history)
    if own_top:
        items_BR = _exact_items(context, own_top)
        exact.append((context.scores(items_BR) / temperature).masked_fill(items_BR == PAD, -torch.inf))
        left_out.append(items_BR)
    hits_BS = sampled_mask(sampled_S, torch.cat(left_out, dim=1), n_items)
    scores_BS = scores_BS.masked_fill(hits_BS, -torch.inf) + math.log(n_items / len(sampled_S))
    return torch.cat([*exact, scores_BS], dim=1).logsumexp(dim=1, keepdim=True)


def _exact_items(context: Context, own_top: int) -> Tensor:
    """What is summed exactly beside the candidates: the student's own top, and the targets, which are in no own top."""
    assert context.kept_BR is not None
    items_BR = context.kept_BR[:, :own_top]
    if context.mask_history or not context.mask_soft:  # else targets are history, which the soft part leaves out
        items_BR = torch.cat([items_BR, context.batch.targets], dim=1)
    return context.outside(items_BR)
