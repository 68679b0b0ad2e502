"""What an ensemble goes by when it weighs its members for each user."""

from pydantic import Field

from kdspark.config.base import Strict


class OpinionConfig(Strict):
    """What is read off an ensemble's members, for each user, to weigh them.

    Args:
        top: how many of its best items make up a member's opinion; items of the history are none.
        items: the opinions are about the most popular items, this many: that bounds what they cost, about
            `items` times the dimensions of all members, per user, beside the scores themselves.
    """

    top: int = Field(100, ge=2)
    items: int = Field(10_000, ge=2)


class AgreementConfig(OpinionConfig):
    """How alike two members' opinions are: by rank-biased overlap (Webber et al., TOIS'10) of their lists of `top`.

    Args:
        persistence: p of that measure, the weight of each depth of the lists relative to the one before; 0.98 gives
            the first 50 items about 86% of the weight in endless lists, 0.9 the first 10.
    """

    persistence: float = Field(0.98, gt=0, lt=1)


class MixtureConfig(OpinionConfig):
    """How a gate is fitted: on the validation events of a sample of users.

    Args:
        users: size of the sample.
        l2: weight of half the squared norm of the gate's weights, which draws it to equal shares.
    """

    users: int = Field(5_000, ge=1)
    l2: float = Field(1e-3, gt=0)
