"""A look at a table of lists before readers have one: what none should ever see, and how tonight's lists are."""

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.errors import PublishError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_COMPARED = 100_000
"""Users whose lists are compared with last night's, about, chosen by hash: a share of them is as telling as all."""


def as_rows(lists: "DataFrame") -> "DataFrame":
    """Table "recommendations", one row per user and rank, of either layout."""
    if tables.ITEMS not in lists.columns:
        return lists
    placed = F.posexplode(tables.ITEMS).alias("place", "item")
    ranked = lists.select(*(name for name in lists.columns if name != tables.ITEMS), placed)
    return ranked.select("*", (F.col("place") + 1).alias(tables.RANK), "item.*")


def audit(rows: "DataFrame", k: int, items: "DataFrame | None" = None) -> dict[str, float]:
    """Refuse a table that no reader should ever see; one shuffle over users.

    Args:
        rows: table "recommendations".
        k: items that a list may have.
        items: (item_id), all that there are; None: not looked at.

    Returns:
        Counts `rows`, `users` and `items` (different ones), and shares of users: `cold_share`, whom the model does not
        know, and `flat_share`, whose lists of several items by the model have one score throughout.

    Raises:
        PublishError: no rows, null ids, unknown items, non-finite scores, duplicate items, gaps in ranks, more than k
            rows of a user.
    """
    user, rank, item, value = tables.USER_ID, tables.RANK, tables.ITEM_ID, tables.SCORE
    finite = F.col(value).isNotNull() & ~F.isnan(value) & (F.abs(F.col(value)) != float("inf"))
    cold = F.col(tables.REASON) == tables.REASON_COLD_START if tables.REASON in rows.columns else F.lit(False)
    per_user = rows.groupBy(user).agg(
        F.count("*").alias("n"),
        F.countDistinct(item).alias("items"),
        F.countDistinct(rank).alias("ranks"),
        F.min(rank).alias("first"),
        F.max(rank).alias("last"),
        F.sum(F.when(finite, 0).otherwise(1)).alias("bad"),
        F.max(cold).alias("cold"),
        (F.max(value) == F.min(value)).alias("flat"),
    )
    checks = {
        "users without an id": F.col(user).isNull(),
        "users with duplicate or null items": F.col("items") != F.col("n"),
        "users with gaps in their ranks": (F.col("first") != 1)
        | (F.col("last") != F.col("n"))
        | (F.col("ranks") != F.col("n")),
        f"users with more than k={k} rows": F.col("n") > k,
        "rows with a null or non-finite score": F.col("bad") > 0,
    }
    flat = ~F.col("cold") & F.col("flat") & (F.col("n") > 1)
    counted = [_count(bad).alias(name) for name, bad in checks.items()]
    shares = [_count(F.col("cold")).alias("cold"), _count(flat).alias("flat")]
    found = per_user.agg(F.sum("n").alias("rows"), F.count("*").alias("users"), *shares, *counted).first()
    assert found is not None
    result: dict[str, Any] = found.asDict()
    if not result["rows"]:
        raise PublishError("The staged recommendations are empty.", "Run `kdspark score` again.")
    shown = rows.select(item).distinct()
    known = F.lit(1).alias("known")
    met = shown.select(item, known) if items is None else shown.join(items.select(item, known), item, "left")
    n_items, n_known = met.agg(F.count("*"), F.count("known")).first() or (0, 0)
    unknown = n_items - n_known
    problems = [f"{result[name]:,} {name}" for name in checks if result[name]]
    problems += [f"{unknown:,} items that the catalogue does not have"] if unknown else []
    if problems:
        raise PublishError(
            f"The staged recommendations failed the audit: {', '.join(problems)}. Nothing was published.",
            "Delete the score stage's folder and run the night again; report it if it comes back.",
        )
    users = int(result["users"])
    counts = {"rows": int(result["rows"]), "users": users, "items": n_items}
    return {**counts, "cold_share": result["cold"] / users, "flat_share": result["flat"] / users}


def overlap(rows: "DataFrame", before: "DataFrame") -> float | None:
    """The share of the items in users' lists that were in their lists before; None where no user had one.

    Both are tables "recommendations"; of many users some are looked at.
    """
    user, item = tables.USER_ID, tables.ITEM_ID
    if any(rows.schema[name].dataType != before.schema[name].dataType for name in (user, item)):
        return None
    users = before.select(user).distinct()
    every = max(1, users.count() // _COMPARED)
    chosen = F.pmod(F.xxhash64(user), F.lit(every)) == 0
    pairs = rows.select(user, item).filter(chosen).join(users.filter(chosen), user, "left_semi")
    known = before.select(user, item).filter(chosen).withColumn("known", F.lit(1))
    met = pairs.join(known, [user, item], "left")
    found = met.agg(F.count("*").alias("n"), F.count("known").alias("known")).first()
    return found["known"] / found["n"] if found is not None and found["n"] else None


def _count(condition: Any) -> Any:
    return F.sum(F.when(condition, 1).otherwise(0))
