"""Spark settings of a configuration: a list of keys, and values that carry nothing else: fault 37."""

import pytest

from kdspark.config import SparkConfig
from kdspark.errors import ConfigError
from kdspark.spark.settings import check_settings


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spark.driver.memory", "4g"),
        ("spark.sql.autoBroadcastJoinThreshold", "-1"),
        ("spark.memory.fraction", "0.6"),
        ("spark.local.dir", "/data/spark scratch,/data2/µ"),
        ("spark.driver.host", "[::1]"),
        ("spark.sql.adaptive.advisoryPartitionSizeInBytes", "64MB"),
        ("spark.speculation.multiplier", "1.5"),
        ("spark.network.timeout", "600s"),
    ],
)
def test_tuning_is_allowed(key: str, value: str) -> None:
    for master in (None, "local", "local[*,4]", "local[2]", "yarn", "spark://a:7077,b:7077", "k8s://https://h:6443"):
        check_settings(SparkConfig(master=master, settings={key: value}))


@pytest.mark.parametrize(
    "key",
    [
        *("spark.jars", "spark.jars.packages", "spark.jars.ivySettings", "spark.files", "spark.archives"),
        *("spark.submit.pyFiles", "spark.plugins", "spark.extraListeners", "spark.sql.extensions"),
        *("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions", "spark.driver.defaultJavaOptions"),
        *("spark.driver.extraClassPath", "spark.executor.extraClassPath", "spark.driver.extraLibraryPath"),
        *("spark.pyspark.python", "spark.pyspark.driver.python", "spark.executorEnv.LD_PRELOAD"),
        *("spark.hadoop.fs.file.impl", "spark.sql.catalog.x", "spark.sql.streaming.streamingQueryListeners"),
        *("spark.driver.memory.x", "spark.driver.hostname", "spark.speculationX", "spark.memoryX"),
        *("spark.sql.adaptive.customCostEvaluatorClass", "spark.memory.\nspark.jars", "spark.memory. spark.jars=x", ""),
        *("SPARK.DRIVER.MEMORY", " spark.driver.memory"),
    ],
)
def test_fault_37_settings_that_load_or_run_something_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=r"is not allowed\. Only performance and memory"):
        check_settings(SparkConfig(settings={key: "1"}))


@pytest.mark.parametrize("key", ["spark.driver.memory", "spark.sql.shuffle.partitions", "spark.memory.fraction"])
@pytest.mark.parametrize(
    "value",
    [
        *("1g -javaagent:/x.jar", "1g\n--jars /x.jar", "1g\n", "${env:HOME}", "${spark.jars}", "$(id)", "`id`"),
        *("'1g'", '1g" -Dx="', "1g;id", "1g|id", "", " 1g", "--conf", "/x"),
    ],
)
def test_fault_37_values_that_carry_something_are_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"is no value for {key}"):
        check_settings(SparkConfig(settings={key: value}))


@pytest.mark.parametrize("value", ["scratch", "/x,${env:HOME}", "/x\n/y", "/x,../y", "/x;y", "/$HOME", "/a'b", "/x,"])
def test_fault_37_folders_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"is no value for spark\.local\.dir"):
        check_settings(SparkConfig(settings={"spark.local.dir": value}))


@pytest.mark.parametrize("master", ["", "local[2] --jars x", "spark://h:1\n", "mesos://x", "yarn --conf x=y", "${x}"])
def test_fault_37_masters_that_are_none_are_refused(master: str) -> None:
    with pytest.raises(ConfigError, match="is no master"):
        check_settings(SparkConfig(master=master))
