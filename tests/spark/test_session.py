"""The session: what it fixes, what it refuses, and who wins under spark-submit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdspark.config import SparkConfig
from kdspark.errors import ConfigError
from kdspark.spark import session
from kdspark.spark.session import build_session, refuse_lossy_reads


def test_time_zone_arrow_and_ansi(spark):
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.execution.arrow.pyspark.enabled") == "true"
    assert spark.conf.get("spark.sql.adaptive.enabled") == "true"
    row = spark.sql("SELECT unix_micros(timestamp'1970-01-02 00:00:00') AS ts").first()
    assert row.ts == 86_400_000_000


@pytest.mark.parametrize(
    "key",
    [
        "spark.jars",
        "spark.jars.packages",
        "spark.driver.extraJavaOptions",
        "spark.executor.extraJavaOptions",
        "spark.submit.pyFiles",
        "spark.sql.files.ignoreCorruptFiles",
        "spark.sql.files.ignoreMissingFiles",
        "spark.sql.session.timeZone",
        "spark.sql.adaptive.customCostEvaluatorClass",
        "spark.sql.extensions",
        "spark.pyspark.python",
    ],
)
def test_settings_that_are_no_tuning_are_refused(key):
    with pytest.raises(ConfigError, match=key):
        build_session(SparkConfig(master="local[1]", settings={key: "true"}), "refused")


def test_a_session_that_skips_damaged_files_is_refused(spark):
    key = "spark.sql.files.ignoreCorruptFiles"
    spark.conf.set(key, "TRUE")
    try:
        with pytest.raises(ConfigError, match=key):
            refuse_lossy_reads(spark)
    finally:
        spark.conf.unset(key)
    refuse_lossy_reads(spark)


_PROBE = """
from kdspark.config import SparkConfig
from kdspark.spark.session import build_session
settings = {"spark.sql.shuffle.partitions": "5", "spark.default.parallelism": "7"}
context = build_session(SparkConfig(master="local[3,4]", settings=settings), "probe").sparkContext
conf = context.getConf()
print("FOUND", context.master, conf.get("spark.sql.shuffle.partitions"), conf.get("spark.default.parallelism"),
      context.pythonExec)
"""


@pytest.mark.parametrize("submitted", [True, False])
def test_what_spark_submit_was_told_wins(tmp_path, submitted):
    probe = tmp_path / "probe.py"
    probe.write_text(_PROBE)
    submit = ["spark-submit", "--master", "local[1,2]"]
    submit += ["--conf", "spark.sql.shuffle.partitions=4", "--conf", "spark.ui.enabled=false"]
    command = [*submit, str(probe)] if submitted else [sys.executable, str(probe)]
    # Workers are to run this Python, not whichever python3 comes first on the PATH.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYSPARK", "SPARK"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.defpath, clean["PATH"]])
    env = {**clean, "PATH": path, **({"SPARK_LOCAL_IP": "127.0.0.1"} if submitted else {})}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    found = done.stdout.split("FOUND ")[1].split()
    if submitted:
        assert found[:3] == ["local[1,2]", "4", "7"]
    else:
        assert found == ["local[3,4]", "5", "7", sys.executable]
        assert "WARN " not in done.stderr  # the JVM's own lines begin with "WARNING: "
        assert "log level" not in done.stderr


_START = """
import sys
from kdspark.config import SparkConfig
from kdspark.errors import StageError
from kdspark.spark.session import build_session
try:
    build_session(SparkConfig(master=sys.argv[1]), "probe")
except StageError as error:
    print("SAID", error)
"""


@pytest.mark.parametrize(
    ("master", "java", "words"),
    [
        ("local[1]", "/nowhere", r"Spark did not start: \[JAVA_GATEWAY_EXITED\]"),
        # A name that no cluster has, on a driver that cannot listen where it is told to.
        ("spark://127.0.0.1:1", None, r"Spark did not start: java\.net\.BindException: "),
    ],
    ids=["no Java", "no address"],
)
def test_a_session_that_does_not_start_is_one_line(master, java, words):
    env = {**os.environ, "SPARK_LOCAL_IP": "192.0.2.1", **({"JAVA_HOME": java} if java else {})}
    done = subprocess.run([sys.executable, "-c", _START, master], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.split("SAID ")[1].strip()
    assert re.match(words, said)
    assert "\n" not in said
    assert "`kdspark doctor`" in said


@pytest.fixture
def unset(monkeypatch, tmp_path):
    """An environment that says nothing about Spark, and an empty SPARK_HOME."""
    for key in [key for key in os.environ if key.startswith(("SPARK", "PYSPARK", "LOG4J", "JAVA", "JDK"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    return monkeypatch


def local_options():
    session._prepare_local()
    return os.environ.get("SPARK_SUBMIT_OPTS", "")


def test_local_defaults_precede_the_users_options_and_are_added_once(unset, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/log4j2.properties.template").touch()
    unset.setenv("SPARK_SUBMIT_OPTS", "-Dmine=1")
    logs, collector, mine = local_options().split()
    assert (logs.split("=")[0], collector, mine) == ("-Dlog4j2.configurationFile", "-XX:+UseParallelGC", "-Dmine=1")
    file = Path(logs.split("=file://")[1])
    assert file.is_file()
    assert local_options() == f"{logs} {collector} {mine}"
    assert os.environ["SPARK_LOCAL_IP"] == "127.0.0.1"


@pytest.mark.parametrize("variable", ["SPARK_SUBMIT_OPTS", "JDK_JAVA_OPTIONS", "PYSPARK_SUBMIT_ARGS", "file"])
def test_a_collector_that_the_user_named_is_the_only_one(unset, tmp_path, variable):
    if variable == "file":
        (tmp_path / "spark-defaults.conf").write_text("spark.driver.extraJavaOptions -XX:+UseZGC\n")
        unset.setenv("SPARK_CONF_DIR", str(tmp_path))
    else:
        unset.setenv(variable, "-XX:+UseZGC -Dmine=1")
    assert "UseParallelGC" not in local_options()


@pytest.mark.parametrize(
    "variable", ["LOG4J_CONFIGURATION_FILE", "SPARK_SUBMIT_OPTS", "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "file"]
)
def test_what_the_user_set_stays(unset, tmp_path, variable):
    unset.setenv("SPARK_LOCAL_IP", "192.0.2.1")
    if variable == "file":
        (tmp_path / "log4j2.yaml").touch()
        unset.setenv("SPARK_CONF_DIR", str(tmp_path))
    else:
        unset.setenv(variable, "-Dlog4j.configurationFile=own.xml")
    before = os.environ.get("SPARK_SUBMIT_OPTS", "")
    assert local_options() == f"-XX:+UseParallelGC {before}".strip()
    assert os.environ["SPARK_LOCAL_IP"] == "192.0.2.1"
