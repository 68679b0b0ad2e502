"""The benchmark of soft labels on a small log: that it compares the same answers, not how long they take."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from pyspark.sql import SparkSession

from kdspark.errors import StageError


@pytest.mark.slow
def test_the_stage_answers_as_the_loop(
    spark: SparkSession, distill: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import labels  # found beside `distill`
    from positions import Shape

    monkeypatch.setattr(labels, "build_session", lambda *_: spark)
    shapes = tuple(Shape(9, 12, 300, 8, teacher=teacher) for teacher in ("transformer", "als"))
    result = labels.run(tmp_path, shapes, repeats=1)
    assert [(row["teacher"], row["method"]) for row in result["rows"]] == [
        (teacher, method) for teacher in ("transformer", "als") for method in ("stage", "torch")
    ]
    assert {row["rows"] for row in result["rows"]} == {8 * 11 + 50}
    assert result["ratios"] == {"labels_vs_torch": result["rows"][0]["vs_torch"]}
    assert "labels_vs_torch" in labels.text_table(result)

    bare = labels._Methods.bare
    monkeypatch.setattr(
        labels._Methods, "bare", lambda self: [(items, torch.roll(scores, 1, 0)) for items, scores in bare(self)]
    )
    with pytest.raises(StageError, match="not those of the loop"):
        labels.run(tmp_path, shapes[1:], repeats=1)
