"""A log that looks like a shop's, generated in Spark from nothing but row numbers and a seed.

Every value is a hash of what it belongs to (event, session, user, item), so that no row needs another, nothing is
collected or shuffled, and any number of machines writes the same rows in the same files. What real logs do to a
recommender is there: long tails of users and items, tastes, sessions whose items follow one another, users and items
that appear while the log goes on and are liked the more while they are new, duplicates, and a few rows that are broken.

The log is laid out in blocks of 20 events, in the order of time; a block is a few sessions of one user each. Items are
numbered in the order in which they appear; a permutation gives each a rank of popularity, and rank modulo `clusters` is
its category, so that every category has popular items and rare ones. A user likes two categories. In a session an item
follows another of the same category with the next rank, as sequels do, or is drawn from a Zipf law of the category, or
is new, or is anything.
"""

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

BLOCK = 20
_SESSIONS = (  # lengths of the sessions of a block; one pattern is drawn for each block
    (7, 5, 4, 2, 1, 1),
    (12, 3, 2, 2, 1),
    (5, 5, 5, 5),
    (9, 6, 3, 1, 1),
    (4, 4, 3, 3, 2, 2, 1, 1),
    (20,),
)
_OLD_USERS, _OLD_ITEMS = 0.6, 0.7  # shares that are there on the first day; the others appear at an even rate
_USER_TAIL, _ITEM_TAIL = 0.65, 1.05  # exponents of Zipf's law
_DAY_SECONDS = 86_400
_VECTOR = 8
_COUNTRIES = ("DE", "FR", "IT", "ES", "PL", "NL", "SE", "PT")


@dataclass(frozen=True)
class Shape:
    """How large the log is, and where in time.

    Args:
        users, items: how many there are on the last day.
        events: rows before duplicates and broken rows, rounded up to whole blocks.
        days: that it covers.
        start: its first day, in epoch seconds.
    """

    users: int
    items: int
    events: int
    seed: int = 1
    days: int = 60
    start: int = 1_704_067_200  # 2024-01-01, UTC

    @property
    def blocks(self) -> int:
        return -(-self.events // BLOCK)

    @property
    def clusters(self) -> int:
        """Categories, of 20 items at least and 64 at most."""
        return max(1, min(64, self.items // 20))


def interactions(spark: "SparkSession", shape: Shape, partitions: int) -> "DataFrame":
    """(user_id STRING, item_id STRING, ts BIGINT in seconds, weight DOUBLE, day STRING), in the order of `ts` by block.

    One row of 200 is there twice; in one of 20,000 a field is broken: null, negative, NaN, or of the next century.
    """
    rows = spark.range(0, shape.blocks * BLOCK, 1, partitions)
    drawn = _Drawn(shape)
    block, place = F.floor(F.col("id") / BLOCK), F.col("id") % BLOCK
    pattern = F.get(_patterns(), drawn.below(len(_SESSIONS), "pattern", block).cast("int"))
    time = (block + drawn.uniform("jitter", block)) / shape.blocks
    rows = rows.select("id", time.alias("time"), F.get(pattern, place.cast("int")).alias("place"))
    rows = rows.withColumn("session", F.col("id") - F.col("place"))  # called by its first event
    rows = rows.withColumn("user", drawn.user(F.col("session"), F.col("time")))
    rows = rows.withColumn("item", drawn.item(*map(F.col, ("id", "session", "place", "user", "time"))))
    period = shape.days * _DAY_SECONDS
    seconds = F.col("time") * period + F.col("place") * 90 + drawn.below(60, "late", "id")
    rows = rows.withColumn("ts", shape.start + F.least(seconds.cast("long"), F.lit(period - 1)))
    rows = rows.withColumn("day", F.date_format(F.timestamp_seconds("ts"), "yyyy-MM-dd"))
    copies = F.when(drawn.below(200, "twice", "id") == 0, 2).otherwise(1)
    rows = rows.withColumn("copy", F.explode(F.array_repeat(F.lit(0), copies)))
    broken = drawn.below(100_000, "broken", "id")  # of which 0 to 4 break something
    user_id = F.when(broken != 0, _user_id(F.col("user")))
    item_id = F.when(broken != 1, _item_id(F.col("item")))
    ts = F.when(broken == 2, -1).when(broken == 3, F.col("ts") + 3_155_760_000).otherwise(F.col("ts"))
    weight = F.when(broken == 4, F.lit(float("nan"))).otherwise(1.0 + drawn.below(5, "weight", "id"))
    return rows.select(
        user_id.alias("user_id"), item_id.alias("item_id"), ts.alias("ts"), weight.alias("weight"), "day"
    )


def users(spark: "SparkSession", shape: Shape, partitions: int) -> "DataFrame":
    """(user_id, country, age): a country for each, an age for nine of ten."""
    rows, drawn = spark.range(0, shape.users, 1, partitions), _Drawn(shape)
    country = F.get(F.array(*map(F.lit, _COUNTRIES)), drawn.zipf(len(_COUNTRIES), 1.1, "country", "id").cast("int"))
    age = F.when(drawn.below(10, "age known", "id") > 0, 16 + drawn.below(60, "age", "id")).cast("double")
    return rows.select(_user_id(F.col("id")).alias("user_id"), country.alias("country"), age.alias("age"))


def items(spark: "SparkSession", shape: Shape, partitions: int) -> "DataFrame":
    """(item_id, category, tags, price, vector): tags joined by "|", a vector near that of the category."""
    rows, drawn = spark.range(0, shape.items, 1, partitions), _Drawn(shape)
    category = drawn.category(F.col("id"))
    tags = [F.concat(F.lit("tag"), drawn.zipf(200, 1.0, f"tag {n}", "id", category).cast("string")) for n in range(3)]
    numbers = [
        drawn.uniform(f"centre {n}", category) * 2 - 1 + 0.3 * (drawn.uniform(f"vector {n}", "id") * 2 - 1)
        for n in range(_VECTOR)
    ]
    return rows.select(
        _item_id(F.col("id")).alias("item_id"),
        F.concat(F.lit("category"), category.cast("string")).alias("category"),
        F.concat_ws("|", F.array_sort(F.array_distinct(F.array(*tags)))).alias("tags"),
        F.round(F.exp(1 + 3 * drawn.uniform("price", "id")), 2).alias("price"),
        F.array(*(number.cast("float") for number in numbers)).alias("vector"),
    )


class _Drawn:
    """Numbers that are functions of a seed, a name, and some columns."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._user_step, self._item_step = _coprime(shape.users), _coprime(shape.items)
        self._item_back = pow(self._item_step, -1, shape.items) if shape.items > 1 else 0

    def uniform(self, name: str, *of: "Column | str") -> "Column":
        """In [0, 1)."""
        hashed = F.xxhash64(F.lit(self._shape.seed), F.lit(name), *of)
        return F.shiftrightunsigned(hashed, 11) * F.lit(2.0**-53)

    def below(self, n: int, name: str, *of: "Column | str") -> "Column":
        """A whole number in 0..n-1."""
        return F.floor(self.uniform(name, *of) * n)

    def zipf(self, n: int, exponent: float, name: str, *of: "Column | str") -> "Column":
        """A rank in 0..n-1, P(rank) ~ (rank + 1)^-exponent, by the inverse of the continuous law."""
        u = self.uniform(name, *of)
        if exponent == 1:
            rank = F.pow(F.lit(float(n + 1)), u)
        else:
            rest = 1 - exponent
            rank = F.pow(((n + 1) ** rest - 1) * u + 1, 1 / rest)
        return F.least(F.floor(rank) - 1, F.lit(n - 1))

    def user(self, session: "Column", time: "Column") -> "Column":
        """Long-tailed; whoever has not appeared yet is replaced by someone who has."""
        n = self._shape.users
        born = F.floor(n * (_OLD_USERS + (1 - _OLD_USERS) * time)).cast("long")
        active = (self.zipf(n, _USER_TAIL, "user", session) * self._user_step + self._shape.seed) % n
        return F.when(active < born, active).otherwise(F.floor(self.uniform("other user", session) * born))

    def item(self, event: "Column", session: "Column", place: "Column", user: "Column", time: "Column") -> "Column":
        shape, per_cluster = self._shape, max(1, self._shape.items // self._shape.clusters)
        born = F.floor(shape.items * (_OLD_ITEMS + (1 - _OLD_ITEMS) * time)).cast("long")
        mood = self.uniform("mood", session)
        taste = F.when(mood < 0.6, self.below(shape.clusters, "taste", user))
        taste = taste.when(mood < 0.85, self.below(shape.clusters, "second taste", user))
        cluster = taste.otherwise(self.below(shape.clusters, "passing taste", session))
        # a sequel continues from the item that the session began with
        begun = self.zipf(per_cluster, _ITEM_TAIL, "first", session)
        drawn = self.zipf(per_cluster, _ITEM_TAIL, "item", event)
        how = self.uniform("how", event)
        within = F.when((place == 0) | (how < 0.35), (begun + place) % per_cluster).otherwise(drawn)
        rank = F.when((place > 0) & (how >= 0.9), self.zipf(shape.items, _ITEM_TAIL, "any", event))
        rank = rank.otherwise(within * shape.clusters + cluster) % shape.items
        item = ((rank - shape.seed % shape.items + shape.items) % shape.items * self._item_back) % shape.items
        new = born - 1 - F.floor(self.uniform("new", event) * F.greatest(born * 0.02, F.lit(1.0)))
        chosen = F.when((place > 0) & (how >= 0.8) & (how < 0.9), F.greatest(new, F.lit(0)))
        return chosen.when(item < born, item).otherwise(item % born)

    def category(self, item: "Column") -> "Column":
        rank = (item * self._item_step + self._shape.seed) % self._shape.items
        return rank % self._shape.clusters


def _patterns() -> "Column":
    """For each pattern, the place in its session of each place in the block."""
    return F.array(
        *(F.array(*(F.lit(place) for length in lengths for place in range(length))) for lengths in _SESSIONS)
    )


def _coprime(n: int) -> int:
    """A step of about 0.618 n that visits all of 0..n-1."""
    step = max(1, round(n * 0.618))
    while gcd(step, n) != 1:
        step += 1
    return step


def _user_id(user: "Column") -> "Column":
    return F.concat(F.lit("u"), F.lpad(user.cast("string"), 9, "0"))


def _item_id(item: "Column") -> "Column":
    return F.concat(F.lit("i"), F.lpad(item.cast("string"), 9, "0"))
