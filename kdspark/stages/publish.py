"""publish: audit the staged recommendations, apply the quality gate, then move the pointer."""

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.errors import PublishError
from kdspark.report.comparison import COMPARISON, POPULARITY, STUDENT
from kdspark.spark.io import read_table
from kdspark.stages import evaluate, prepare, score
from kdspark.stages.stage import Night, Outcome, Stage, Task
from kdspark.workspace import publish_run, read_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NAME = "publish"


def _settings(night: Night) -> object:
    return {"date": night.date.isoformat(), "gate": night.config.gate.model_dump(mode="json")}


def _build(task: Task) -> Outcome:
    night = task.night
    staged = task.inputs[score.NAME] / score.TABLE
    written = read_table(night.spark, staged)
    rows = as_rows(written) if night.config.scoring.layout == "lists" else written
    audited = audit(rows, night.config.scoring.k)
    comparison = read_json(task.inputs[evaluate.NAME] / COMPARISON)
    passed = check_gate(comparison, night.config.gate.metric, night.config.gate.min_ratio_to_popularity)
    run_id = task.key[:12]
    stages = {need: path.name for need, path in task.inputs.items()}
    facts = {
        "rows": audited["rows"],
        "users": audited["users"],
        "gate": passed,
        "evaluated_run": comparison["run_id"],
        "stages": stages,
    }
    table = publish_run(night.workspace, night.date, run_id, staged, facts)
    return Outcome(rows={score.TABLE: audited["rows"]}, facts={"path": str(table), "published_run": run_id, **facts})


def audit(rows: "DataFrame", k: int) -> dict[str, int]:
    """Refuse a table that no reader should ever see; one shuffle over users.

    Returns:
        Row and user counts.

    Raises:
        PublishError: no rows, null ids, non-finite scores, duplicate items, gaps in ranks, more than k rows of a user.
    """
    user, rank, item, value = tables.USER_ID, tables.RANK, tables.ITEM_ID, tables.SCORE
    finite = F.col(value).isNotNull() & ~F.isnan(value) & (F.abs(F.col(value)) != float("inf"))
    per_user = rows.groupBy(user).agg(
        F.count("*").alias("n"),
        F.countDistinct(item).alias("items"),
        F.countDistinct(rank).alias("ranks"),
        F.min(rank).alias("first"),
        F.max(rank).alias("last"),
        F.sum(F.when(finite, 0).otherwise(1)).alias("bad"),
    )
    total = F.sum("n").alias("rows")
    checks = {
        "users without an id": F.col(user).isNull(),
        "users with duplicate or null items": F.col("items") != F.col("n"),
        "users with gaps in their ranks": (F.col("first") != 1)
        | (F.col("last") != F.col("n"))
        | (F.col("ranks") != F.col("n")),
        f"users with more than k={k} rows": F.col("n") > k,
        "rows with a null or non-finite score": F.col("bad") > 0,
    }
    counted = [F.sum(F.when(bad, 1).otherwise(0)).alias(name) for name, bad in checks.items()]
    found = per_user.agg(total, F.count("*").alias("users"), *counted).first()
    assert found is not None
    result: dict[str, Any] = found.asDict()
    if not result["rows"]:
        raise PublishError("The staged recommendations are empty.", "Run `kdspark score` again.")
    problems = [f"{result[name]:,} {name}" for name in checks if result[name]]
    if problems:
        raise PublishError(
            f"The staged recommendations failed the audit: {', '.join(problems)}. Nothing was published.",
            "Delete the score stage's folder and run the night again; report it if it comes back.",
        )
    return {"rows": int(result["rows"]), "users": int(result["users"])}


def as_rows(lists: "DataFrame") -> "DataFrame":
    """Table "recommendations", one row per user and rank, of table "recommendation_lists"."""
    placed = F.posexplode(tables.ITEMS).alias("place", "item")
    ranked = lists.select(*(name for name in lists.columns if name != tables.ITEMS), placed)
    return ranked.select("*", (F.col("place") + 1).alias(tables.RANK), "item.*")


def check_gate(comparison: dict[str, Any], metric: str, min_ratio: float) -> dict[str, float]:
    """Only a good night is published: the student must do at least `min_ratio` times as well as popularity.

    Raises:
        PublishError: it does not, or the metric was not computed.
    """
    values = {}
    for model in comparison["models"]:
        if metric not in model["metrics"]:
            known = ", ".join(sorted(model["metrics"]))
            raise PublishError(f"`gate.metric`: {metric!r} was not computed.", f"Choose one of: {known}.")
        values[model["model"]] = float(model["metrics"][metric]["value"])
    student, popularity = values[STUDENT], values[POPULARITY]
    if student < min_ratio * popularity:
        raise PublishError(
            f"The night is blocked: the student's {metric} is {student:.4f}, below {min_ratio} x popularity's "
            f"{popularity:.4f}. Nothing was published.",
            "Look at the report for the reason; lower `gate.min_ratio_to_popularity` only if you accept this.",
        )
    return {"student": student, "popularity": popularity}


# Always run: an earlier night published again must move the pointer. What is published already is not copied twice.
STAGE = Stage(NAME, "publish", (prepare.NAME, score.NAME, evaluate.NAME), _settings, _build, reusable=False)
