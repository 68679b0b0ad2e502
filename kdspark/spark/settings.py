"""Which Spark settings a configuration may hold: those that change performance and memory, never what is loaded or run.

Keys are on a list. Values are checked too: a setting is a word, a number, a size or a list of these, and never carries
an option, a line of its own, or a `${…}`, which Spark would replace by what it finds in its environment.
"""

import re

from kdspark.config import SparkConfig
from kdspark.errors import ConfigError

_ALLOWED = {
    "spark.sql.shuffle.partitions",
    "spark.sql.autoBroadcastJoinThreshold",
    "spark.sql.execution.arrow.maxRecordsPerBatch",
    "spark.sql.files.maxPartitionBytes",
    "spark.default.parallelism",
    "spark.local.dir",
    "spark.driver.memory",
    "spark.driver.maxResultSize",
    "spark.driver.host",
    "spark.driver.bindAddress",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.executor.memoryOverheadFactor",
    "spark.executor.pyspark.memory",
    "spark.executor.cores",
    "spark.executor.instances",
    "spark.task.cpus",
    "spark.task.maxFailures",
    "spark.task.resource.gpu.amount",
    "spark.executor.resource.gpu.amount",
    "spark.speculation",
    "spark.network.timeout",
    "spark.ui.enabled",
    "spark.scheduler.mode",
}
_ALLOWED_BELOW = ("spark.sql.adaptive.", "spark.dynamicAllocation.", "spark.memory.", "spark.speculation.")
_KEY = re.compile(r"[A-Za-z0-9.]+")
_WORD = re.compile(r"-?[A-Za-z0-9][A-Za-z0-9_.,:%-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9_.:\[\]-]+")
_FOLDERS = re.compile(r"/[^\x00-\x1f\x7f'\"`$\\;|<>*?,]*(,/[^\x00-\x1f\x7f'\"`$\\;|<>*?,]*)*")
_VALUES = {"spark.local.dir": _FOLDERS, "spark.driver.host": _ADDRESS, "spark.driver.bindAddress": _ADDRESS}
_MASTER = re.compile(
    r"(local(\[[0-9*]+(,[0-9*]+)?\])?|local-cluster\[[0-9, ]+\]|yarn|(spark|k8s)://[A-Za-z0-9_.:/,\[\]-]+)"
)


def check_settings(config: SparkConfig) -> None:
    """Refuse what is no tuning.

    Raises:
        ConfigError: a key is not on the list, a value is none that such a setting has, or the master is none.
    """
    for key, value in config.settings.items():
        listed = key in _ALLOWED or (key.startswith(_ALLOWED_BELOW) and not key.endswith("Class"))
        if not listed or not _KEY.fullmatch(key):
            raise ConfigError(
                f"`spark.settings`: {key!r} is not allowed.",
                "Only performance and memory settings are; give others to spark-submit.",
            )
        if not _VALUES.get(key, _WORD).fullmatch(value):
            raise ConfigError(
                f"`spark.settings`: {value!r} is no value for {key}.",
                "Write a word, a number or a size; of spark.local.dir absolute folders, with commas between them.",
            )
    if config.master is not None and not _MASTER.fullmatch(config.master):
        raise ConfigError(
            f"`spark.master`: {config.master!r} is no master.", "Write local[2,4], spark://host:port, yarn or k8s://…."
        )
