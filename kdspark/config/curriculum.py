"""From a teacher's easy answers to its hard ones: which of its states a student learns from, and when."""

from pydantic import Field

from kdspark.config.base import Strict

_ROUNDING = 1e-9  # a third of 9 epochs is 3


class CurriculumConfig(Strict):
    """The student follows the way its teacher went: from the answers of the half-trained teacher to the final ones.

    What a teacher answers early in its training is easier to learn for a small model than what it answers at the end,
    and leads there (route-constrained optimisation, Jin et al., ICCV 2019; HetComp, Kang et al., WWW 2023). The move is
    by epochs alone, not by HetComp's discrepancy. Members of an ensemble answer in the state of the same share of
    their training; those solved in closed form have one state. Training does not stop early before the final answers.

    Args:
        snapshots: earlier states, at equal shares of the epochs whose outcome is the final one. Each is labelled, so
            that soft labels take `snapshots` + 1 times their time and disk.
        share: share of the student's epochs that learn from earlier states, each of them as long; null: all states,
            the final one too, are as long.
    """

    snapshots: int = Field(2, ge=1)
    share: float | None = Field(None, gt=0, lt=1)

    def state_at(self, epoch: int, epochs: int) -> int:
        """The state that an epoch (from 0) of so many learns from: 0 the earliest, `snapshots` the final one."""
        share = self.snapshots / (self.snapshots + 1) if self.share is None else self.share
        return min(self.snapshots, int(epoch * self.snapshots / (share * epochs) + _ROUNDING))

    def final_from(self, epochs: int) -> int:
        """The first epoch (from 0) that learns from the final state; `epochs` where none does."""
        reached = (epoch for epoch in range(epochs) if self.state_at(epoch, epochs) == self.snapshots)
        return next(reached, epochs)

    def fits(self, epochs: int) -> bool:
        """Whether each state has an epoch."""
        return len({self.state_at(epoch, epochs) for epoch in range(epochs)}) == self.snapshots + 1
