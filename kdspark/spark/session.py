"""The only place that builds a Spark session.

Time zone UTC, Arrow between JVM and Python, adaptive execution. Settings from the configuration are allow-listed
(`settings`): they may change performance and memory, never what is loaded, run or ignored. In local mode nothing
listens beyond loopback, and Spark's log holds errors only, unless the environment says otherwise.
"""

import os
import re
import sys
import threading
import time
from pathlib import Path

import pyspark
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from kdspark.config import SparkConfig
from kdspark.errors import ConfigError, StageError
from kdspark.spark.local_dirs import mark
from kdspark.spark.settings import check_settings

_FIXED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
}
_DEFAULTS = {
    # What event logs and the user interface do not show of settings and plans; Spark's own pattern knows fewer names.
    "spark.redaction.regex": r"(?i)secret|password|passwd|token|credential|access[.]?key|account[.]?key|fixed[.]sas",
}
_LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")
# Where a user may have named a log configuration of their own.
_JVM_OPTIONS = ("SPARK_SUBMIT_OPTS", "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS")
_COLLECTOR = re.compile(r"-XX:[+-]Use\w+GC\b")
_CANCEL_EVERY_S = 0.5
_REFUSED = ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles")


def build_session(config: SparkConfig, app_name: str, umask: str | None = None) -> SparkSession:
    """Start a session, or join the one that spark-submit configured.

    Args:
        config: `master` and `settings` give way to what spark-submit was told; without either, all local cores with
            retries like a cluster's.
        umask: of what Hadoop's file systems write, whose own umask is not the process's.

    Raises:
        ConfigError: a setting is not on the allow list, or the submitted configuration ignores damaged files.
        StageError: Spark does not start: no Java, no cluster at that address, or one that starts no executor.
    """
    check_settings(config)
    builder = SparkSession.builder.appName(app_name)
    submitted = _submitted_settings()
    if "spark.master" not in submitted:
        master = config.master or "local[*,4]"
        builder = builder.master(master)
        if master.startswith("local"):
            _prepare_local()
    # Spark's own bar is for people at a terminal; in a log file it is noise.
    wanted = {"spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(), **_DEFAULTS, **config.settings}
    wanted |= {} if umask is None else {"spark.hadoop.fs.permissions.umask-mode": umask}
    free = {key: value for key, value in wanted.items() if key not in submitted}
    for key, value in {**free, **_FIXED}.items():
        builder = builder.config(key, value)
    session = _started(builder)
    refuse_lossy_reads(session)
    session.sparkContext.setLogLevel("ERROR")
    mark(session)
    return session


def _started(builder: SparkSession.Builder) -> SparkSession:
    try:
        return builder.getOrCreate()
    except (Py4JError, PySparkException) as error:
        # Of the JVM's own errors the line after py4j's heading; the trace below it is the JVM's.
        said = (line.removeprefix(": ") for line in str(error).splitlines() if not line.startswith("An error occurred"))
        raise StageError(
            f"Spark did not start: {next(said, type(error).__name__)}",
            "Its own words are above, and in the logs of the cluster's master and workers; `kdspark doctor` looks at "
            "what a night needs.",
        ) from error


def refuse_lossy_reads(session: SparkSession) -> None:
    """Raise ConfigError if the session skips damaged or missing files, which loses rows silently."""
    for key in _REFUSED:
        if str(session.conf.get(key, "false")).lower() == "true":
            raise ConfigError(f"{key} is on: it loses rows without a word.", "Submit without it.")


def cancel_jobs() -> int:
    """Cancel all jobs of this process's session, from now on until it ends; returns how many are running."""
    context = SparkContext._active_spark_context
    if context is None:
        return 0
    running = len(context.statusTracker().getActiveJobsIds())

    def cancel() -> None:
        while context._jsc is not None:  # type: ignore[attr-defined]  # until it is stopped
            context.cancelAllJobs()
            time.sleep(_CANCEL_EVERY_S)

    threading.Thread(target=cancel, name="cancel", daemon=True).start()
    return running


def _prepare_local() -> None:
    """Defaults for the JVM this process is about to start, in the environment, where it looks for them."""
    # Else Spark takes the first python3 on the PATH, not this environment's.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Else it listens on the address the host's name resolves to, and warns where that is loopback.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    options = []
    if not _log_is_configured():
        options.append(f"-Dlog4j2.configurationFile={_LOG_SETTINGS.as_uri()}")  # a URI: options are split at blanks
    if not _collector_is_chosen():
        # Nothing waits for an answer: throughput counts, not pauses. It takes a tenth less CPU than the JVM's default.
        options.append("-XX:+UseParallelGC")
    if options:
        # Before the user's own options: of two equal ones the last wins.
        os.environ["SPARK_SUBMIT_OPTS"] = " ".join([*options, os.environ.get("SPARK_SUBMIT_OPTS", "")]).strip()


def _log_is_configured() -> bool:
    """Whether a log configuration was named in the environment or put into Spark's configuration folder."""
    if "LOG4J_CONFIGURATION_FILE" in os.environ:
        return True
    if any("configurationFile=" in os.environ.get(name, "") for name in _JVM_OPTIONS):
        return True
    return any(path.suffix != ".template" for path in _conf_folder().glob("log4j2.*"))


def _collector_is_chosen() -> bool:
    """Whether the user may have named a garbage collector: the JVM does not start with two of them."""
    defaults = _conf_folder() / "spark-defaults.conf"
    named = [os.environ.get(name, "") for name in (*_JVM_OPTIONS, "PYSPARK_SUBMIT_ARGS")]
    named += [defaults.read_text(encoding="utf-8", errors="replace")] if defaults.is_file() else []
    return any(_COLLECTOR.search(text) for text in named)


def _conf_folder() -> Path:
    home = os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent
    return Path(os.environ.get("SPARK_CONF_DIR") or Path(home, "conf"))


def _submitted_settings() -> dict[str, str]:
    """What spark-submit was told, master included; empty where it did not start this process."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ and "--master" not in os.environ.get("PYSPARK_SUBMIT_ARGS", ""):
        return {}
    SparkContext._ensure_initialized()  # type: ignore[attr-defined]  # SparkConf reads the JVM's properties
    return dict(SparkConf().getAll())
