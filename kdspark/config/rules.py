"""What a shop's lists have to keep to: tables of items, of segments and of users, and what their columns mean."""

from typing import Literal

from pydantic import Field, model_validator

from kdspark.config.base import Strict
from kdspark.config.source import SourceConfig


class SegmentsConfig(SourceConfig):
    """Who belongs to which segment (country, age group, contract): a row per user and segment, any number of each."""

    user: str
    segment: str


class ListConfig(SourceConfig):
    """Items that may, or may not, be recommended: to everyone, by segment, or by user.

    A user gets an item if every allow list that there is for everyone, for one of the user's segments or for the user
    has it, and no such deny list does. A segment without rows in an allow list by segment is not limited by it, nor is
    a user without rows in one by user; a list for everyone limits everyone, even an empty one.

    Args:
        item: column of item ids.
        segment, user: column that says whom a row is for; null for everyone. Not both.
    """

    kind: Literal["allow", "deny"]
    item: str
    segment: str | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _for_whom(self) -> "ListConfig":
        if self.segment is not None and self.user is not None:
            raise ValueError("a list is by `segment` or by `user`, not both; make it two lists")
        return self


class AvailabilityConfig(SourceConfig):
    """When items may be recommended: a row is a window [start, end), null ends are open; items without rows always.

    Lists are made at the end of the night's date, and read from then on: an item needs a window that covers the next
    `hours`.

    Args:
        start, end: columns of dates, SQL timestamps, or their ISO text, in UTC. null: no such column.
    """

    item: str
    start: str | None = None
    end: str | None = None
    hours: float = Field(24, ge=0)

    @model_validator(mode="after")
    def _has_an_end(self) -> "AvailabilityConfig":
        if self.start is None and self.end is None:
            raise ValueError("`availability` needs `start` or `end`")
        return self


class CapConfig(SourceConfig):
    """How many items of one group (category, provider, brand) a list may hold. An item may be in several groups.

    Args:
        group: column of the group's name.
        most: of one group.
        when_short: `relax` fills a list that nothing else fills with the best of what the cap left out, which says
            `over_cap`; `keep` leaves it short.
    """

    item: str
    group: str
    most: int = Field(ge=1)
    when_short: Literal["relax", "keep"] = "relax"


class BoostConfig(SourceConfig):
    """What is added to an item's scores, in standard deviations of a user's scores over the catalogue; boosts add up.

    In units of their own scores users of narrow and of wide taste are moved alike.

    Args:
        boost: column of numbers, below 0 too.
        segment: column of the segment that a row is for; null for everyone.
    """

    item: str
    boost: str
    segment: str | None = None


class DiversityConfig(Strict):
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): each item is the best of those not chosen by
    (1 - share) * relevance - share * similarity to the most similar item before it.

    Relevance runs from 0 to 1 over the user's `pool` best items, by default five times as many as a list holds;
    similarity is the cosine of the items' vectors, 0 if below.
    """

    share: float = Field(0.3, gt=0, le=1)
    pool: int | None = Field(None, ge=2)


class BackfillConfig(SourceConfig):
    """Items for lists that the model cannot fill, smaller `order` first. Without it: what the model does not know, by
    its number of events.

    Args:
        order: column of numbers.
    """

    item: str
    order: str


class RulesConfig(Strict):
    """Rules of the nightly lists; each table is read as any input is.

    Lists stay full while any allowed item remains: beyond what the model knows they are backfilled.
    """

    segments: SegmentsConfig | None = None
    lists: list[ListConfig] = []
    availability: AvailabilityConfig | None = None
    caps: list[CapConfig] = []
    boosts: list[BoostConfig] = []
    diversity: DiversityConfig | None = None
    backfill: BackfillConfig | None = None

    @property
    def tables(self) -> dict[str, SourceConfig]:
        """Every table by its key."""
        named: dict[str, SourceConfig | None] = {
            "segments": self.segments,
            "availability": self.availability,
            "backfill": self.backfill,
        }
        for key in ("lists", "caps", "boosts"):
            named |= {f"{key}.{number}": table for number, table in enumerate(getattr(self, key))}
        return {key: table for key, table in named.items() if table is not None}

    @model_validator(mode="after")
    def _segments_are_known(self) -> "RulesConfig":
        segments = [*(table.segment for table in self.lists), *(table.segment for table in self.boosts)]
        by_segment = any(name is not None for name in segments)
        if by_segment and self.segments is None:
            raise ValueError("lists or boosts by `segment` need `segments`, which says who belongs to which")
        if self.segments is not None and not by_segment:
            raise ValueError("`segments` does nothing without a list or a boost by `segment`; remove it")
        return self

    @model_validator(mode="after")
    def _one_allow_list_by_user(self) -> "RulesConfig":
        if sum(table.kind == "allow" and table.user is not None for table in self.lists) > 1:
            raise ValueError("`lists` has two allow lists by `user`; make them one table")
        return self
