"""The sections that say how labels, scoring, evaluation, publishing and the session work."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from kdspark.config.base import Strict, refuse_credentials
from kdspark.config.item_item import EASEConfig, GFCFConfig
from kdspark.config.models import ALSConfig
from kdspark.config.rules import RulesConfig


class SoftLabelsConfig(Strict):
    """The teacher's answers per training position: its `top_k` items in order, then `tail` items sampled by hash.

    Args:
        mask_history: leave out what the user had done by the position, the items that its history has no place for
            too, so that the student learns to rank the rest.
        scoring_inputs: how many times each user's whole history, which is what scoring will see, joins the positions.
            What came after it is unknown, so it teaches by soft labels alone: a transfer set without labels, as in
            Hinton et al. (2015), made of the very inputs that the student must answer. 0 for none.
        positions: whether the training positions are labelled. Without them the student learns from the scoring inputs
            alone, so by soft labels alone. For "mf", whose vector of a user is the same at all of the user's positions
            and can answer for the latest of them only: there, with one scoring input, it is false unless either is
            given or hard labels weigh something.
    """

    top_k: int = Field(50, ge=1)
    tail: int = Field(50, ge=0)
    mask_history: bool = True
    scoring_inputs: int = Field(0, ge=0)
    positions: bool = True
    batch_size: int = Field(256, ge=1)

    @model_validator(mode="after")
    def _something_is_labelled(self) -> Self:
        if not self.positions and not self.scoring_inputs:
            raise ValueError("`positions: false` without `scoring_inputs` leaves nothing to label; set these to 1")
        return self


class ScoringConfig(Strict):
    """The nightly list: k items per user, seen items left out.

    Args:
        layout: `rows` writes a row per user and rank; `lists` one per user, with an array of items, best first.
        rows_per_file: items of lists in an output file, at most; a task writes at least one, as no score is shuffled.
        rules: what lists have to keep to besides.
    """

    k: int = Field(20, ge=1)
    layout: Literal["rows", "lists"] = "rows"
    exclude_seen: bool = True
    batch_size: int = Field(1024, ge=1)
    memory_mib: int = Field(256, ge=16, description="bound of the top-k kernel's score tiles, per task")
    rows_per_file: int = Field(1_000_000, ge=1)
    rules: RulesConfig | None = None


class EvaluationConfig(Strict):
    """Metrics at each of `ks` on the full catalogue; intervals by Poisson bootstrap over users."""

    ks: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [5, 10, 20]
    bootstrap: int = Field(1000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    activity_bounds: list[Annotated[int, Field(ge=1)]] = [20, 100]
    head_share: float = Field(0.2, gt=0, lt=1, description="share of items, by popularity, that make up the head")

    @model_validator(mode="after")
    def _ascending(self) -> "EvaluationConfig":
        for name in ("ks", "activity_bounds"):
            values = getattr(self, name)
            if values != sorted(set(values)):
                raise ValueError(f"`{name}` must be ascending, without repeats")
        return self


class GateConfig(Strict):
    """What a night must have to be published; what the first nights have no figures for is not looked at.

    Args:
        metric: of the student, on test events.
        min_ratio_to_popularity, min_ratio_to_previous: that it is at least so many times popularity's, and that of the
            last night's student. Of a hundred test users either is uncertain by a fifth: bounds have to allow for it.
        min_items_to_previous: that lists hold at least so many times as many different items as last night's.
        min_user_share: of all users, that have a list.
        max_cold_share, max_cold_rise: share of the users with a list whom the model does not know, and how much larger
            than last night's it may be. A table of users may hold many who have never done anything: by default the
            first is no bound.
        max_flat_share: of the users with a list, whose items by the model all have one score.
        max_score_psi: how far the scores in lists may be from last night's, as the population stability index that the
            health table has of them (`psi`). Convention calls 0.25 a shift; between good nights of some eighty users it
            was 0.03 to 0.6. Another student, or a temperature, puts scores on another scale, so that nothing bounds it
            by default.
        min_overlap_with_previous: share of the items in lists that were in the same user's list last night.
        min_volume, max_volume: that the events of the night's own day are between so many times their median over the
            last `volume_nights` published nights, of which there have to be `min_volume_nights`. Logs without a clock
            have no days.
        on_empty_day: what to do where the log has no event of the night's own day (UTC), though it had some on one of
            the last `volume_nights` published nights, or where it has no row at all: `fail`; `keep_previous`, the night
            ends well (code 0), and what was published stays; or `publish`, lists are made of the log as it is, which
            must have rows. A log that ended before the first night, as logs of benchmarks do, is used as it is.
        max_null_rise: by how much the share of missing values (null, blank, NaN) of a column in use, among the rows
            that were read tonight, may be above its median over the last `volume_nights` published nights.
    """

    metric: str = "ndcg@10"
    min_ratio_to_popularity: float = Field(1.0, ge=0)
    min_ratio_to_previous: float = Field(0.8, ge=0)
    min_items_to_previous: float = Field(0.5, ge=0)
    min_user_share: float = Field(0.9, ge=0, le=1)
    max_cold_share: float = Field(1.0, ge=0, le=1)
    max_cold_rise: float = Field(0.1, ge=0, le=1)
    max_flat_share: float = Field(0.05, ge=0, le=1)
    max_score_psi: float | None = Field(None, ge=0)
    min_overlap_with_previous: float = Field(0.01, ge=0, le=1)
    min_volume: float = Field(0.5, ge=0, le=1)
    max_volume: float = Field(4.0, ge=1)
    volume_nights: int = Field(14, ge=1)
    min_volume_nights: int = Field(3, ge=1)
    on_empty_day: Literal["fail", "keep_previous", "publish"] = "fail"
    max_null_rise: float = Field(0.05, ge=0, le=1)


class LoaderConfig(Strict):
    """How training rows are read from the disk. It changes no result, and so no stage runs again for it.

    Args:
        stall_seconds: without any row, after which training gives up and the process ends.
    """

    stall_seconds: float = Field(300.0, gt=0, le=86_400)


class PublishConfig(Strict):
    """How nights are published.

    Args:
        to: URL of a folder, such as hdfs://name-node/recommendations, for `published/` and `latest.json`; null: ROOT.
        keep: published runs that are kept; older ones are removed, with the stages that only they were made from.
    """

    to: str | None = Field(None, pattern=r"^[a-z][a-z0-9+.-]*://[^\s?#%]*[^\s?#%/]$")
    keep: int = Field(14, ge=1)

    @field_validator("to", mode="before")
    @classmethod
    def _without_credentials(cls, value: object) -> object:
        if isinstance(value, str):
            refuse_credentials(value)
        return value


BaselineConfig = Annotated[ALSConfig | EASEConfig | GFCFConfig, Field(discriminator="kind")]


class SparkConfig(Strict):
    """Session settings. Under spark-submit the submitted ones win; only performance and memory keys are allowed."""

    master: str | None = Field(None, description="for example local[2,4]; None: spark-submit's, else local[*,4]")
    settings: dict[str, str] = {}
