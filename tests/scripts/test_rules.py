"""The benchmark of the rules on a small shape: that its rules are all kept to, not how long it takes."""

from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession


@pytest.mark.slow
def test_rules_are_kept_to(
    spark: SparkSession, distill: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rules  # found beside `distill`
    from drawn import Drawn, Shape

    monkeypatch.setattr(rules, "build_session", lambda *_: spark)
    shape = Shape(users=150, items=400, dims=5)
    result = rules.run(tmp_path / "out", shape, heavy=395, repeats=1, k=7)
    assert [row["method"] for row in result["rows"]] == ["none", "rules", "heavy_user"]
    assert set(result["ratios"]) == {"rules_vs_none", "heavy_user"}
    assert "rules_vs_none" in rules.text_table(result)

    drawn = Drawn(spark, shape, tmp_path / "again", 7)
    rules._ruled(drawn, rules._drawn_rules(drawn, tmp_path / "rules"))()
    lists = pq.read_table(drawn.folder / "lists").to_pandas()
    assert lists["user_id"].nunique() == 150
    denied = pq.read_table(tmp_path / "rules" / "denied").to_pandas()
    assert len(denied) > 0
    assert not set(lists["item_id"]) & set(denied["item"])
    capped = lists[~lists["reason"].isin(["over_cap", "backfill"])]
    assert capped.groupby(["user_id", capped["item_id"] % rules._CATEGORIES]).size().max() <= 3
    own = pq.read_table(tmp_path / "rules" / "users_allowed").to_pandas().groupby("user")["item"].agg(set)
    assert all(set(part["item_id"]) <= own[user] for user, part in lists.groupby("user_id") if user in own.index)
