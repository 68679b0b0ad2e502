"""What a configuration gets that names its student and says little else: defaults that depend on another section.

They work on the raw mapping, before its sections are parsed, and only add keys that were not given, so that what is
resolved, dumped and read again stays as it is.
"""

from typing import Any


def resolve_student_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """A student of free user vectors learns from what the teacher answers to the history that will be scored.

    Its vector of a user is one and the same at all of the user's positions. Hard labels at positions long past pull it
    away from where it has to be tonight, and so do the teacher's answers to them. Without them it did best on every log
    measured, at one label per user instead of one per event.

    Args:
        raw: the configuration as it was given; left as it is.

    Returns:
        raw, for a student "mf" that learns the teacher's ranks or scores, as does its assistant, if it has one: with
        `distill.hard_weight` 0, and, where training rows are positions, `soft_labels` of one scoring input per user
        alone. Otherwise raw itself.
    """
    distill, labels, student, data = (raw.get(name, {}) for name in ("distill", "soft_labels", "student", "data"))
    if not all(isinstance(section, dict) for section in (distill, labels, student, data)):
        return raw
    if student.get("kind") != "mf" or distill.get("lambda", 1) == 0 or not _assisted_alike(raw.get("assistant")):
        return raw
    distill = {"hard_weight": 0.0, **distill}
    if not _of_sets(data) and distill["hard_weight"] == 0 and not _by_agreement(distill):
        labels = {"scoring_inputs": 1, **labels}
        labels = {"positions": not labels["scoring_inputs"], **labels}
    return {**raw, "distill": distill, "soft_labels": labels}


def _assisted_alike(assistant: Any) -> bool:
    """Whether there is no assistant, or one that is such a model, too, and learns as the student does."""
    if assistant is None:
        return True
    model = assistant.get("model") if isinstance(assistant, dict) else None
    return isinstance(model, dict) and model.get("kind") == "mf" and assistant.get("distill") is None


def _of_sets(data: dict[str, Any]) -> bool:
    """Whether training rows are whole histories, which are scoring inputs anyway."""
    examples = data.get("examples")
    return isinstance(examples, dict) and examples.get("kind") == "set"


def _by_agreement(distill: dict[str, Any]) -> bool:
    """Whether a schedule compares the teacher with a row's targets, which scoring inputs do not have."""
    schedules = [*(distill.get("lambda_schedule") or []), *(distill.get("temperature_schedule") or [])]
    return any(isinstance(one, dict) and one.get("kind") == "agreement" for one in schedules)
