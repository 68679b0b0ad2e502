"""The night on a real standalone cluster through spark-submit gives what it gives in local mode."""

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.stages.results import latest_table
from tests.integration.cluster import standalone_cluster, submit
from tests.integration.nights import DATE, small_config, small_log, write_config
from tests.integration.test_night import night

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
REPOSITORY = Path(__file__).parents[2]


def recommendations(root: Path) -> pd.DataFrame:
    rows = pd.read_parquet(latest_table(str(root)))
    return rows.sort_values(["user_id", "rank"]).reset_index(drop=True)


def test_cluster_equals_local(spark: SparkSession, tmp_path: Path) -> None:
    config = small_config(small_log(tmp_path, users=60))
    path = write_config(tmp_path / "night.yaml", config)
    night(spark, tmp_path / "local", config)
    with standalone_cluster(tmp_path / "cluster") as url:
        job = REPOSITORY / "jobs" / "nightly.py"
        arguments = ["--config", str(path), "--date", DATE, "--root", str(tmp_path / "root")]
        arguments += ["--set", "spark.settings={spark.sql.shuffle.partitions: '3'}"]
        done = submit(url, job, arguments, tmp_path / "cluster", REPOSITORY)
        assert done.returncode == 0, done.stderr[-4000:]
    pd.testing.assert_frame_equal(recommendations(tmp_path / "root"), recommendations(tmp_path / "local"))
