"""The prepare stage by itself, on logs of a few rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.config import parse_config
from kdspark.errors import InputError
from kdspark.stages.pipeline import run_night
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace, parse_date

pytestmark = pytest.mark.slow
DATE = "2024-01-02"


def prepare(spark: SparkSession, root: Path, data: dict[str, Any], date: str = DATE) -> Runner:
    """Run the stage; lists of one item, so that the smallest catalogue is enough."""
    config = {
        "data": data,
        "teacher": {"kind": "ease"},
        "student": {"kind": "mf", "dim": 4},
        "scoring": {"k": 1},
        "evaluation": {"ks": [1]},
        "gate": {"metric": "ndcg@1"},
    }
    return run_night(Night(parse_config(config), parse_date(date), Workspace(root), lambda: spark), "prepare")


@pytest.fixture
def provided(tmp_path: Path) -> dict[str, Any]:
    """A provided split of (user, item) pairs; train's users are int32 numbers, test's have still to be written."""
    pairs = pd.DataFrame({"u": np.repeat(np.arange(9, dtype=np.int32), 4), "i": list("abcd") * 9})
    pairs.to_parquet(tmp_path / "train.parquet")
    return {
        "interactions": {"paths": str(tmp_path / "train.parquet")},
        "columns": {"user": "u", "item": "i"},
        "split": {"kind": "provided", "test": {"paths": str(tmp_path / "test.parquet")}},
        "examples": {"kind": "set"},
    }


def test_wider_ids_of_a_provided_test_file_are_the_same_users(spark: SparkSession, tmp_path: Path, provided) -> None:
    pd.DataFrame({"u": [3, 99], "i": ["e", "a"]}).to_parquet(tmp_path / "test.parquet")
    out = prepare(spark, tmp_path / "root", provided).output("prepare")
    users = pd.read_parquet(out / "user_ids")
    assert users["user_id"].dtype == "int32"
    assert sorted(users["user_id"]) == [*range(9), 99]
    events = pd.read_parquet(out / "interactions").merge(users)
    assert sorted(events[events["split"] == "test"]["user_id"]) == [3, 99]


def test_text_ids_of_a_provided_test_file_stop_the_night(spark: SparkSession, tmp_path: Path, provided) -> None:
    pd.DataFrame({"u": ["3"], "i": ["e"]}).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(InputError, match=r"test\.parquet: column 'u' .* is string, but int in `data\.interactions`"):
        prepare(spark, tmp_path / "root", provided)


def test_bad_rows_of_side_tables_are_quarantined_and_counted(spark: SparkSession, tmp_path: Path, provided) -> None:
    pd.DataFrame({"u": [3], "i": ["e"]}).to_parquet(tmp_path / "test.parquet")
    (tmp_path / "users.csv").write_text("u,age\n1,30\n2\nno,40\n")
    users = {"paths": str(tmp_path / "users.csv"), "format": "csv", "id": "u", "numeric": ["age"]}
    with pytest.raises(InputError, match=r"users\.csv: 2 of 3 rows are bad"):
        prepare(spark, tmp_path / "root", {**provided, "users": users})
    tolerant = {**provided, "users": users, "filters": {"max_bad_fraction": 0.7}}
    runner = prepare(spark, tmp_path / "root", tolerant)
    manifest, bad = runner.manifest("prepare"), pd.read_parquet(runner.output("prepare") / "quarantine")
    assert manifest.rows["quarantine"] == 2
    assert manifest.facts["input"]["users"] == {"read": 3, "good": 1, "malformed row": 1, "user id is no int": 1}
    assert [Path(file["path"]).name for file in manifest.facts["files"]["users"]] == ["users.csv"]
    assert set(bad["raw_row"]) == {"2", '{"u":"no","age":"40"}'}
