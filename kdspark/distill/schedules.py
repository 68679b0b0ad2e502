"""What lambda and the temperature are at a point of the training, and how rows and validations change them.

Legend: B rows, C candidates, T targets.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kdspark.config import (
    CosineSchedule,
    DistillConfig,
    FeedbackSchedule,
    LambdaSchedule,
    TemperatureSchedule,
    TimeSchedule,
    WarmupSchedule,
)
from kdspark.distill.losses import within
from kdspark.tables import PAD


def lambda_at(config: DistillConfig, progress: float) -> float:
    """lambda when that share of the training is done, before what rows and validations make of it."""
    return config.lambda_ * _factor(config.lambda_schedule, progress)


def temperature_at(config: DistillConfig, progress: float) -> float:
    """The temperature when that share of the training is done, before what rows and validations make of it."""
    return config.temperature * _factor(config.temperature_schedule, progress)


def time_factor(schedule: TimeSchedule, progress: float) -> float:
    """The factor of one schedule.

    Args:
        progress: share of the training that is done, 0 to 1.
    """
    if isinstance(schedule, WarmupSchedule):
        return schedule.start + (1 - schedule.start) * min(1.0, progress / schedule.share)
    return schedule.start + (schedule.end - schedule.start) * 0.5 * (1 - math.cos(math.pi * progress))


def _factor(schedules: Iterable[LambdaSchedule | TemperatureSchedule], progress: float) -> float:
    timed = (one for one in schedules if isinstance(one, WarmupSchedule | CosineSchedule))
    return math.prod(time_factor(one, progress) for one in timed)


def agreement_weights(probabilities_BC: Tensor, candidates_BC: Tensor, targets_BT: Tensor, least: float) -> Tensor:
    """Weights [B] of rows by the probability that the teacher gives their targets, their mean 1.

    w = least + (1 - least) * p / mean(p), p the probability of all of a row's targets and the mean that of the rows
    that have any: the importance weights of Furlanello et al. (ICML 2018), mixed with equal ones. A row without
    targets or without candidates weighs 1, and so does every row of a batch in which the teacher finds no target.

    Args:
        probabilities_BC: the soft targets of the candidates; a row of zeros has none.
        targets_BT: item_idx, PAD where a row has fewer.
        least: weight of a row whose targets have no probability.
    """
    return least + (1 - least) * _agreement(probabilities_BC, candidates_BC, targets_BT)


def agreement_temperatures(probabilities_BC: Tensor, candidates_BC: Tensor, targets_BT: Tensor, most: float) -> Tensor:
    """Factors [B, 1] of rows' temperatures, from 1, where the teacher gives the targets at least as much as in the mean
    row, to `most`, where it gives them nothing: most^(1 - min(1, p / mean(p))); arguments as in `agreement_weights`."""
    missed_B = 1 - _agreement(probabilities_BC, candidates_BC, targets_BT).clamp(max=1)
    return torch.full_like(missed_B, most).pow(missed_B).unsqueeze(1)


def _agreement(probabilities_BC: Tensor, candidates_BC: Tensor, targets_BT: Tensor) -> Tensor:
    """p / mean(p) [B]; 1 where there is nothing to compare."""
    counted_B = (targets_BT != PAD).any(dim=1) & (probabilities_BC > 0).any(dim=1)
    truth_B = (probabilities_BC * within(candidates_BC, targets_BT)).sum(dim=1) * counted_B
    mean = truth_B.sum() / counted_B.sum().clamp(min=1)
    relative_B = truth_B / mean.clamp(min=torch.finfo(truth_B.dtype).tiny)
    return torch.where(counted_B & (mean > 0), relative_B, 1.0)


class Feedback(nn.Module):
    """The factor of a schedule by feedback. Its state is a buffer, so that checkpoints hold it."""

    def __init__(self, config: FeedbackSchedule) -> None:
        super().__init__()
        self.config = config
        first = torch.tensor([1.0, math.nan], dtype=torch.float64)  # the factor, and the metric before: none yet
        self.register_buffer("state", first)

    @property
    def factor(self) -> float:
        """What lambda, or the temperature, is multiplied by."""
        return float(self.get_buffer("state")[0])

    def hear(self, metric: float) -> None:
        """Take in a validation metric; the first has none before it to be compared with."""
        state = self.get_buffer("state")
        factor, before = state.tolist()
        state.copy_(torch.tensor([adjusted(self.config, factor, before, metric), metric], dtype=state.dtype))


def adjusted(config: FeedbackSchedule, factor: float, before: float, metric: float) -> float:
    """The factor after a validation: times `up` if the metric rose, times `down` if it fell, within its bounds.

    Args:
        before: the metric of the validation before; NaN if there was none.
    """
    change = config.up if metric > before else config.down if metric < before else 1.0
    return min(max(factor * change, config.least), config.most)
