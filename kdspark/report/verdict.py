"""What the numbers say, in plain words. Every sentence follows from the comparison alone; none is said without data."""

from typing import NamedTuple

from kdspark.report.comparison import (
    ALS,
    POPULARITY,
    STUDENT,
    STUDENT_PLAIN,
    TEACHER,
    Comparison,
    find_model,
    find_pair,
    percent,
    primary_k,
    value_of,
)

_SIGNIFICANT = 0.05


class Verdict(NamedTuple):
    """A headline, and the sentences that support or qualify it."""

    headline: str
    details: list[str]


def verdict(comparison: Comparison) -> Verdict:
    """Judge the night by NDCG at the primary cut-off."""
    metric = f"ndcg@{primary_k(comparison)}"
    sentences = [
        _against(comparison, metric, STUDENT, STUDENT_PLAIN, "the same student without distillation"),
        _against(comparison, metric, STUDENT, POPULARITY, "popularity"),
        _against(comparison, metric, TEACHER, ALS, "Spark ALS", subject="The teacher"),
        _speed(comparison),
    ]
    return Verdict(_headline(comparison, metric), [sentence for sentence in sentences if sentence])


def label(metric: str) -> str:
    """A metric's name for people: "ndcg@10" is "NDCG@10", "hit_rate@10" is "Hit rate@10"."""
    name, at, k = metric.partition("@")
    shown = name.upper() if name in ("ndcg", "map", "mrr", "f1") else name.replace("_", " ").capitalize()
    return f"{shown}{at}{k}"


def _headline(comparison: Comparison, metric: str) -> str:
    student, teacher = find_model(comparison, STUDENT), find_model(comparison, TEACHER)
    upper, lower = value_of(student, metric), value_of(teacher, metric)
    if student is None or teacher is None or upper is None or not lower:
        return "No teacher and student to compare"
    kept, size = f"{100 * upper / lower:.1f}%", percent(student["params"], teacher["params"])
    if upper >= lower:
        return f"The student reaches {kept} of its teacher's {label(metric)} with {size} of its parameters"
    return f"The student keeps {kept} of its teacher's {label(metric)} with {size} of its parameters"


def _against(comparison: Comparison, metric: str, a: str, b: str, name: str, subject: str = "It") -> str | None:
    upper, lower = value_of(find_model(comparison, a), metric), value_of(find_model(comparison, b), metric)
    if upper is None or lower is None:
        return None
    pair = find_pair(comparison, a, b, metric)
    change = f" ({100 * (upper / lower - 1):+.1f}%" if lower else " ("
    p_value = pair["p_value"] if pair is not None else None
    if p_value is None:
        how = "better than" if upper > lower else "worse than" if upper < lower else "level with"
        return f"{subject} is {how} {name}{change}; not tested)."
    shown = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    if p_value >= _SIGNIFICANT:
        return (
            f"No clear difference from {name}{change}, {shown})."
            if subject == "It"
            else (f"{subject} shows no clear difference from {name}{change}, {shown}).")
        )
    return f"{subject} is {'better' if upper > lower else 'worse'} than {name}{change}, {shown})."


def _speed(comparison: Comparison) -> str | None:
    student, teacher = find_model(comparison, STUDENT), find_model(comparison, TEACHER)
    if student is None or teacher is None:
        return None
    seconds = [result["encode_seconds"] + result["score_seconds"] for result in (student, teacher)]
    sizes = [result["bytes"] / 1e6 for result in (student, teacher)]
    return (
        f"Encoding and scoring took {seconds[0]:.2f} s of task time against {seconds[1]:.2f} s; "
        f"on disk {sizes[0]:.2f} MB against {sizes[1]:.2f} MB."
    )
