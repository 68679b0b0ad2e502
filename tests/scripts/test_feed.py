"""The benchmark of the training feed on a small log: that both methods train on the same rows, not how fast."""

from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import SparkSession

from kdspark.errors import StageError


@pytest.mark.slow
def test_both_feeds_have_the_same_rows(
    spark: SparkSession, distill: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import feed  # found beside `distill`
    from positions import Shape

    monkeypatch.setattr(feed, "build_session", lambda *_: spark)
    shapes = (Shape(90, 12, 300, 8, "als", "mf"), Shape(9, 12, 300, 8, "als", "gru"))
    result = feed.run(tmp_path, shapes, repeats=1, processes=(1,))
    found = [(row["student"], row["method"], row["rows"]) for row in result["rows"]]
    rows = 8 * 11 + 50
    assert found == [
        ("mf", "parquet", 90),
        ("mf", "memory", 90),
        ("gru", "parquet", rows),
        ("gru", "memory", rows),
        ("gru", "1 x 1 thread", rows),
    ]
    worst = min(row["vs_memory"] for row in result["rows"] if row["method"] == "parquet")
    assert result["ratios"] == {"feed_vs_memory": worst}
    assert "feed_vs_memory" in feed.text_table(result)

    epoch = feed._Memory.epoch
    students = feed._Students(spark, shapes[1], tmp_path / "again")
    columns = [batch["user_idx"] for batch in epoch(students.memory, 1)]
    assert sorted(user for part in columns for user in part.tolist()) == sorted(students.drawn.users.tolist())
    students.memory.columns["candidates"] = students.memory.columns["candidates"].roll(1, 1) + 1
    with pytest.raises(StageError, match="Column candidates"):
        students.check()
